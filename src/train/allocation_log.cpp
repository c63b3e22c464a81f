#include "allocation_log.h"

#include <algorithm>
#include <numeric>

namespace praxino {
namespace {

/// Hands out no memory, but tells the listening log of every request, as the CPU's allocator does.
class MetaAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    auto* request = new size_t(bytes);
    report(request, static_cast<int64_t>(bytes));
    return {nullptr, request, &release, c10::Device(c10::kMeta)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void*, const void*, size_t) const override {}  // there is no data

 private:
  static void report(void* request, int64_t bytes) {
    if (bytes != 0 && c10::memoryProfilingEnabled())
      c10::reportMemoryUsageToProfiler(request, bytes, 0, 0, c10::Device(c10::kMeta));
  }
  static void release(void* context) {
    const std::unique_ptr<size_t> request(static_cast<size_t*>(context));
    report(context, -static_cast<int64_t>(*request));
  }
};

void install_meta_allocator() {
  static MetaAllocator allocator;
  static const bool installed = [] {
    c10::SetAllocator(c10::kMeta, &allocator);
    return true;
  }();
  static_cast<void>(installed);
}

/// What the log knows a tensor's memory by.
const void* address_of(const at::Tensor& tensor) {
  const c10::DataPtr& memory = tensor.storage().data_ptr();
  return tensor.is_meta() ? memory.get_context() : memory.get();
}

}  // namespace

std::string_view name_of(MemoryKind kind) {
  constexpr std::array<std::string_view, kMemoryKinds> kNames = {
      "weights", "moments", "averages", "gradients", "batch", "activations", "update"};
  return kNames[static_cast<size_t>(kind)];
}

int64_t MemoryByKind::total() const {
  return std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
}

void AllocationLog::begin_phase(std::string phase, MemoryKind kind) {
  phases_.push_back(std::move(phase));
  kind_ = kind;
}

void AllocationLog::mark(const at::Tensor& tensor, MemoryKind kind) {
  const auto found = live_.find(address_of(tensor));
  if (found != live_.end()) blocks_[found->second].kind = kind;
}

void AllocationLog::reportMemoryUsage(void* memory, int64_t bytes, size_t, size_t, c10::Device) {
  if (bytes > 0) {
    live_[memory] = blocks_.size();
    events_.push_back({.block = blocks_.size(), .freed = false, .phase = phases_.size() - 1});
    blocks_.push_back({.bytes = bytes, .kind = kind_});
    return;
  }
  const auto found = live_.find(memory);
  if (found == live_.end()) return;  // from before
  events_.push_back({.block = found->second, .freed = true, .phase = phases_.size() - 1});
  live_.erase(found);
}

MemoryPeak AllocationLog::peak() const {
  MemoryPeak peak;
  MemoryByKind now;
  int64_t total = 0, highest = 0;
  for (size_t seen = 1; seen <= events_.size(); ++seen) {
    const Event& event = events_[seen - 1];
    const Block& block = blocks_[event.block];
    const int64_t change = event.freed ? -block.bytes : block.bytes;
    now.of(block.kind) += change;
    total += change;
    if (total <= highest || seen < counted_from_) continue;
    highest = total;
    peak.bytes = now;
    peak.phase = phases_[event.phase];
  }
  return peak;
}

int64_t AllocationLog::highest(MemoryKind kind) const {
  int64_t now = 0, highest = 0;
  for (const Event& event : events_) {
    const Block& block = blocks_[event.block];
    if (block.kind != kind) continue;
    now += event.freed ? -block.bytes : block.bytes;
    highest = std::max(highest, now);
  }
  return highest;
}

MemoryByKind AllocationLog::live() const {
  MemoryByKind live;
  for (const auto& [memory, block] : live_) live.of(blocks_[block].kind) += blocks_[block].bytes;
  return live;
}

Listening::Listening(std::shared_ptr<AllocationLog> log)
    : guard_(c10::DebugInfoKind::PROFILER_STATE, std::move(log)) {
  install_meta_allocator();
}

}  // namespace praxino
