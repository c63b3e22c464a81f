#include "praxino/train/bench.h"

#include <ATen/Parallel.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "praxino/base/error.h"
#include "praxino/base/progress.h"
#include "praxino/rollout/world.h"
#include "praxino/train/trainer.h"

namespace praxino {
namespace {

/// A folder of its own that ends with it.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string path = (std::filesystem::temp_directory_path() / "praxino-bench-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr)
      fail("cannot make a folder in {}", std::filesystem::temp_directory_path().string());
    path_ = path;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

/// Waits for the device: a number from it has to arrive.
void finish(const at::Tensor& scalar) { static_cast<void>(scalar.item<float>()); }

/// The best of the products of half a second, in FLOP a second.
double measure_product(const at::Device& device, at::ScalarType type, int64_t n) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  const at::Tensor a = at::randn({n, n}, options).to(type), b = at::randn({n, n}, options).to(type);
  const auto flop = 2 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
  double best = 0;
  const double begin = monotonic_seconds();
  for (int i = 0; i < 4 || monotonic_seconds() - begin < 0.5; ++i) {
    const double start = monotonic_seconds();
    finish(at::mm(a, b)[0][0].to(at::kFloat));
    best = std::max(best, flop / (monotonic_seconds() - start));
  }
  return best;
}

double quantile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<size_t>(share * static_cast<double>(sorted.size() - 1) + 0.5)];
}

/// VmHWM of /proc/self/status.
double largest_resident_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return 1024 * std::stod(line.substr(6));
  }
  return 0;
}

double peak_memory(const at::Device& device) {
  if (device.is_cpu()) return largest_resident_memory();
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return static_cast<double>(stats.allocated_bytes[0].peak);
}

/// The quick look that a training run takes at its data and its folder, without their cost here.
RunConfig for_bench(RunConfig config, const std::string& folder, int64_t steps) {
  config.run.output = folder;
  config.run.steps = steps;
  config.run.max_minutes = 0;
  config.checkpoint.every = steps + 1;
  config.eval.every = 0;
  config.expect.clear();
  return config;
}

}  // namespace

TrainBench measure_training(RunConfig config, const TrainBenchOptions& options) {
  const ScratchFolder folder;
  const int64_t warm_up = std::max<int64_t>(options.warm_up, 1);
  config = for_bench(std::move(config), folder.path(), warm_up + options.steps);
  TrainBench bench;
  bench.run = config.run.name;
  bench.steps = options.steps;
  const double start = monotonic_seconds();
  Trainer trainer(config, {});
  finish(trainer.step().gradient_norm);
  bench.first_step = monotonic_seconds() - start;
  for (int64_t i = 1; i < warm_up; ++i) finish(trainer.step().gradient_norm);

  std::vector<double> seconds;
  double waited = 0, all = 0;
  for (int64_t i = 0; i < options.steps; ++i) {
    const double begin = monotonic_seconds();
    finish(trainer.step().gradient_norm);
    seconds.push_back(monotonic_seconds() - begin);
    waited += trainer.loader_wait_seconds();
    all += seconds.back();
  }
  std::ranges::sort(seconds);
  bench.median = quantile(seconds, 0.5);
  bench.low = quantile(seconds, 0.2);
  bench.high = quantile(seconds, 0.8);
  bench.loader_wait = waited / all;

  const World& world = trainer.world();
  const bool bf16 = use_bf16(config.run.precision, world.device);
  const auto clips = static_cast<double>(config.data.batch * config.optim.gradient_accumulation);
  bench.frames = clips * static_cast<double>(config.data.clip_frames);
  bench.tokens =
      bench.frames * static_cast<double>(world.model->grid().count() + config.model.registers);
  bench.flops = 3 * world.model->forward_flops(config.data.clip_frames) * clips;
  bench.peak_bytes = peak_memory(world.device);
  bench.precision = bf16 ? "bf16" : "fp32";
  bench.device = world.device.is_cpu() ? fmt::format("cpu, {} threads", at::get_num_threads())
                                       : world.device.str();
  bench.product_size = world.device.is_cpu() ? 1024 : 8192;
  bench.peak_flops =
      measure_product(world.device, bf16 ? at::kBFloat16 : at::kFloat, bench.product_size);
  return bench;
}

std::string to_text(const TrainBench& b) {
  std::string text = fmt::format("{} on {}, matrix products in {}\n", b.run, b.device, b.precision);
  text += fmt::format("step         {:.2f} ms median, {:.2f} to {:.2f} (20 to 80 %) of {} steps\n",
                      1e3 * b.median, 1e3 * b.low, 1e3 * b.high, b.steps);
  text += fmt::format("throughput   {:.0f} tokens/s, {:.1f} frames/s\n", b.tokens_per_second(),
                      b.frames / b.median);
  text += fmt::format(
      "work         {:.3g} TFLOP a step, {:.4g} TFLOP/s, MFU {:.1f} %\n"
      "             3 x forward; forward = 2 x rows x in x out a matrix + 4 x seen (query, key) "
      "pairs x width a block\n"
      "             peak {:.4g} TFLOP/s: {} product of {} x {}, measured in this process\n",
      b.flops / 1e12, b.flops_per_second() / 1e12, 100 * b.mfu(), b.peak_flops / 1e12, b.precision,
      b.product_size, b.product_size);
  text += fmt::format("loader       {:.1f} % of the time waited for\n", 100 * b.loader_wait);
  text += fmt::format("memory       {:.2f} GB at most\n", b.peak_bytes / 1e9);
  text += fmt::format("start        {:.2f} s to the end of the first step\n", b.first_step);
  return text;
}

std::string to_json(const TrainBench& b) {
  const nlohmann::ordered_json json = {{"run", b.run},
                                       {"device", b.device},
                                       {"precision", b.precision},
                                       {"steps", b.steps},
                                       {"step_seconds", b.median},
                                       {"step_seconds_low", b.low},
                                       {"step_seconds_high", b.high},
                                       {"first_step_seconds", b.first_step},
                                       {"loader_wait", b.loader_wait},
                                       {"tokens_per_second", b.tokens_per_second()},
                                       {"frames_per_second", b.frames / b.median},
                                       {"step_flops", b.flops},
                                       {"flops_per_second", b.flops_per_second()},
                                       {"peak_flops_per_second", b.peak_flops},
                                       {"product_size", b.product_size},
                                       {"mfu", b.mfu()},
                                       {"peak_bytes", b.peak_bytes}};
  return json.dump(2) + "\n";
}

}  // namespace praxino
