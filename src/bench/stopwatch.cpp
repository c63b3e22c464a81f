#include "bench/stopwatch.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace praxino::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

c10::Stream current_stream(const at::Device& device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

// More than the caches of any chip that we know: 126 MB of a B200, 384 MB of the largest CPUs.
int64_t cache_bytes(const at::Device& device, bool small) {
  if (small) return int64_t{1} << 16;
  return device.is_cuda() ? int64_t{256} << 20 : int64_t{512} << 20;
}

constexpr int64_t kMostPasses = 64;

}  // namespace

Times times_of(std::vector<double> samples) {
  std::ranges::sort(samples);
  const auto at = [&](double share) {
    return samples[static_cast<size_t>(
        std::lround(share * static_cast<double>(samples.size() - 1)))];
  };
  return {.median = at(0.5),
          .low = at(0.2),
          .high = at(0.8),
          .repetitions = static_cast<int64_t>(samples.size())};
}

Stopwatch::Stopwatch(const OpsOptions& options)
    : small_(options.small),
      device_(options.device),
      caches_(at::empty({cache_bytes(device_, small_) / 4},
                        at::TensorOptions(at::kFloat).device(device_))) {}

void Stopwatch::finish() const {
  if (device_.is_cuda()) current_stream(device_).synchronize();
}

void Stopwatch::overwrite_caches() {
  written_ += 1;  // another value each time: nothing can be skipped
  for (int64_t pass = 0; pass < passes_; ++pass) caches_.fill_(written_);
}

double Stopwatch::seconds_of(const Timed& timed) {
  if (timed.before) timed.before();
  overwrite_caches();
  if (!device_.is_cuda()) {
    const auto begin = Clock::now();
    timed.run();
    return seconds_since(begin);
  }
  const c10::Stream stream = current_stream(device_);
  c10::Event before(device_.type(), c10::EventFlag::BACKEND_DEFAULT),
      after(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
  before.record(stream);
  timed.run();
  after.record(stream);
  after.synchronize();
  return before.elapsedTime(after) / 1e3;
}

void Stopwatch::warm_up(const Timed& timed, double seconds) const {
  const auto begin = Clock::now();
  do {
    if (timed.before) timed.before();
    timed.run();
    finish();
  } while (seconds_since(begin) < seconds);
}

std::vector<double> Stopwatch::sample(const Timed& timed, const Sampling& sampling) {
  passes_ = 1;
  if (device_.is_cuda()) {
    if (timed.before) timed.before();
    finish();
    auto begin = Clock::now();
    timed.run();
    const double queueing = seconds_since(begin);
    finish();
    begin = Clock::now();
    overwrite_caches();
    finish();
    // Twice as long as the host needs, so that the device never waits for it in between.
    const double passes = std::ceil(2 * queueing / std::max(seconds_since(begin), 1e-6));
    passes_ = std::clamp(static_cast<int64_t>(passes), int64_t{1}, kMostPasses);
  }
  const auto begin = Clock::now();
  std::vector<double> samples;
  for (int64_t i = 0; i < sampling.repetitions; ++i) {
    if (i >= sampling.least && seconds_since(begin) > sampling.seconds) break;
    samples.push_back(seconds_of(timed));
  }
  return samples;
}

double Stopwatch::copy_rate() {
  const int64_t gpu = int64_t{2} << 30, cpu = int64_t{256} << 20;
  const int64_t bytes = small_ ? 1 << 16 : device_.is_cuda() ? gpu : cpu;
  const at::Tensor from = at::randn({bytes / 4}, at::TensorOptions(at::kFloat).device(device_));
  const at::Tensor to = at::empty_like(from);
  to.copy_(from);
  return 2 * static_cast<double>(bytes) / times_of(sample({[&] { to.copy_(from); }}, {})).median;
}

double Stopwatch::product_rate() {
  const int64_t side = small_ ? 64 : device_.is_cuda() ? 8192 : 1024;
  const auto options =
      at::TensorOptions(device_.is_cuda() ? at::kBFloat16 : at::kFloat).device(device_);
  const at::Tensor a = at::randn({side, side}, options), b = at::randn({side, side}, options);
  at::Tensor c = at::mm(a, b);
  const double n = static_cast<double>(side);
  return 2 * n * n * n / times_of(sample({[&] { at::mm_out(c, a, b); }}, {})).median;
}

}  // namespace praxino::bench
