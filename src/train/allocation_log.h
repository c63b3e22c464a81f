#pragma once
// Every allocation of tensors in a stretch of code: the true peak of a training step on the CPU,
// and, for tensors without memory (at::kMeta), the peak that the same step would have.

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace praxino {

/// What an allocation is for.
enum class MemoryKind {
  kWeights,
  kMoments,
  kAverages,
  kGradients,
  kBatch,
  kActivations,  // of the forward and backward pass, temporaries included
  kUpdate,       // temporaries of the optimizer
};
inline constexpr size_t kMemoryKinds = 7;
std::string_view name_of(MemoryKind kind);

/// Bytes of each kind.
struct MemoryByKind {
  std::array<int64_t, kMemoryKinds> bytes = {};
  int64_t& of(MemoryKind kind) { return bytes[static_cast<size_t>(kind)]; }
  int64_t of(MemoryKind kind) const { return bytes[static_cast<size_t>(kind)]; }
  int64_t total() const;
};

/// What was allocated at the moment when most was.
struct MemoryPeak {
  MemoryByKind bytes;
  std::string phase;  // the newest begin_phase() before it
};

/// Listens to the allocations of the thread that owns a Listening. Not thread-safe.
class AllocationLog final : public c10::MemoryReportingInfoBase {
 public:
  /// From here on allocations are of `kind`, in the part of the step named `phase`.
  void begin_phase(std::string phase, MemoryKind kind);
  /// What holds the memory of a live tensor is of `kind` from its allocation on.
  void mark(const at::Tensor& tensor, MemoryKind kind);
  /// Peaks count from here on, with all that is live now.
  void forget_peak() { counted_from_ = events_.size(); }
  /// Since forget_peak(), or the first allocation.
  MemoryPeak peak() const;
  /// The most bytes of one kind at a time.
  int64_t highest(MemoryKind kind) const;
  MemoryByKind live() const;

  void reportMemoryUsage(void* memory, int64_t bytes, size_t total, size_t reserved,
                         c10::Device device) override;
  bool memoryProfilingEnabled() const override { return true; }

 private:
  struct Block {
    int64_t bytes = 0;
    MemoryKind kind = MemoryKind::kActivations;
  };
  struct Event {
    size_t block = 0;
    bool freed = false;
    size_t phase = 0;
  };
  std::vector<Block> blocks_;
  std::vector<Event> events_;
  size_t counted_from_ = 0;                       // number of events whose moments are no peaks
  std::unordered_map<const void*, size_t> live_;  // by address: the block that lies there now
  std::vector<std::string> phases_ = {""};
  MemoryKind kind_ = MemoryKind::kActivations;
};

/// While one lives, this thread's allocations on the CPU and on at::kMeta go to `log`.
class Listening {
 public:
  explicit Listening(std::shared_ptr<AllocationLog> log);

 private:
  c10::DebugInfoGuard guard_;
};

}  // namespace praxino
