#include "data/batch_ring.h"

#include <ATen/ops/empty.h>

#include <chrono>

#include "praxino/base/log.h"

namespace praxino {
namespace {

constexpr std::chrono::seconds kStallNotice{60};

at::Tensor buffer(at::IntArrayRef shape, at::ScalarType type, bool pin) {
  return at::empty(shape, at::TensorOptions().dtype(type).pinned_memory(pin));
}

// The part of a batch tensor that belongs to one row.
template <class T>
std::span<T> row_of(const at::Tensor& tensor, int64_t row) {
  const int64_t size = tensor.numel() / tensor.size(0);
  return {tensor.mutable_data_ptr<T>() + row * size, static_cast<size_t>(size)};
}

}  // namespace

BatchRing::BatchRing(const RingOptions& options, FillRow fill)
    : options_(options), fill_(std::move(fill)), slots_(static_cast<size_t>(options.ahead)) {
  for (int64_t n = 0; n < options_.ahead; ++n) reset(slots_[static_cast<size_t>(n)], n);
  for (int64_t w = 0; w < options_.workers; ++w) {
    threads_.emplace_back([this, w](const std::stop_token& stop) { work(w, stop); });
  }
}

BatchRing::~BatchRing() {
  for (std::jthread& thread : threads_) thread.request_stop();
}

int64_t BatchRing::first_sample(int64_t number) const {
  const int64_t stride = options_.stride > 0 ? options_.stride : options_.shape.batch;
  return options_.first_sample + number * stride;
}

void BatchRing::reset(Slot& slot, int64_t number) const {
  const BatchShape& s = options_.shape;
  const auto rows = static_cast<size_t>(s.batch);
  slot.batch.frames = buffer({s.batch, s.frames, 3, s.height, s.width}, at::kByte, s.pin);
  slot.batch.actions = buffer({s.batch, s.frames, s.fields}, at::kFloat, s.pin);
  slot.batch.known = buffer({s.batch, s.frames}, at::kBool, s.pin);
  slot.batch.samples.resize(rows);
  for (int64_t row = 0; row < s.batch; ++row) {
    slot.batch.samples[static_cast<size_t>(row)] = first_sample(number) + row;
  }
  slot.reports.assign(rows, {});
  slot.errors.assign(rows, nullptr);
  slot.filled = 0;
}

void BatchRing::work(int64_t worker, const std::stop_token& stop) {
  while (true) {
    int64_t claimed = 0;
    {
      std::unique_lock lock(mutex_);
      const bool room = room_.wait(lock, stop, [this] {
        return claimed_ < (consumed_ + options_.ahead) * options_.shape.batch;
      });
      if (!room || stop.stop_requested()) return;
      claimed = claimed_++;
    }
    fill_row(worker, claimed, stop);
  }
}

void BatchRing::fill_row(int64_t worker, int64_t claimed, const std::stop_token& stop) {
  const int64_t number = claimed / options_.shape.batch;
  const int64_t row = claimed % options_.shape.batch;
  const auto r = static_cast<size_t>(row);
  Slot& slot = slots_[static_cast<size_t>(number % options_.ahead)];
  const BatchRow place{slot.batch.samples[r], first_sample(number) + options_.shape.batch,
                       row_of<uint8_t>(slot.batch.frames, row),
                       row_of<float>(slot.batch.actions, row), row_of<bool>(slot.batch.known, row)};
  try {
    slot.reports[r] = fill_(worker, place, stop);
  } catch (...) {
    slot.errors[r] =
        std::current_exception();  // a thrown row counts as filled: nobody waits for it
  }
  bool complete = false;
  {
    const std::lock_guard lock(mutex_);
    complete = ++slot.filled == options_.shape.batch;
  }
  if (complete) filled_.notify_one();
}

BatchRing::Filled BatchRing::next() {
  Slot& slot = slots_[static_cast<size_t>(consumed_ % options_.ahead)];
  const auto begin = std::chrono::steady_clock::now();
  {
    std::unique_lock lock(mutex_);
    wait_until_filled(lock, slot);
  }
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
  // Nobody touches a full slot until consumed_ grows.
  for (const std::exception_ptr& error : slot.errors) {
    if (error) std::rethrow_exception(error);
  }
  Filled out;
  for (RowReport& report : slot.reports) {
    out.report.failed += report.failed;
    if (!report.reason.empty()) out.report.reason = std::move(report.reason);
  }
  out.batch = std::move(slot.batch);
  out.batch.wait_seconds = waited.count();
  reset(slot, consumed_ + options_.ahead);
  {
    const std::lock_guard lock(mutex_);
    ++consumed_;
  }
  room_.notify_all();
  return out;
}

void BatchRing::wait_until_filled(std::unique_lock<std::mutex>& lock, const Slot& slot) {
  const auto full = [&] { return slot.filled == options_.shape.batch; };
  while (!filled_.wait_for(lock, kStallNotice, full)) {
    log::warning(
        "training waits for data: {} of {} clips of the next batch are ready; is the disk of the "
        "data set reachable?",
        slot.filled, options_.shape.batch);
  }
}

}  // namespace praxino
