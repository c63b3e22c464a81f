#pragma once
// What the tensors of one rank take on the CPU, where ranks are threads of one process.

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace praxino::testing {

/// From its making on, what this thread allocates counts, until it is freed on whatever thread:
/// Gloo's free what they have sent. (AllocationLog hears the frees of its own thread alone.) Any
/// number of threads, one each.
class RankMemory {
 public:
  RankMemory() : count_(std::make_shared<Count>()) {
    static const bool installed = [] {
      c10::SetCPUAllocator(new Allocator, /*priority=*/100);  // for the rest of the process
      return true;
    }();
    static_cast<void>(installed);
    own_ = count_;
  }
  ~RankMemory() { own_.reset(); }
  RankMemory(const RankMemory&) = delete;
  RankMemory& operator=(const RankMemory&) = delete;

  void forget_peak() {
    const std::lock_guard lock(mutex_);
    count_->peak = count_->live;
  }
  int64_t peak() const {
    const std::lock_guard lock(mutex_);
    return count_->peak;
  }

 private:
  struct Count {
    int64_t live = 0, peak = 0;
  };
  struct Block {
    std::shared_ptr<Count> count;
    int64_t bytes = 0;
  };
  class Allocator final : public c10::Allocator {
    c10::DataPtr allocate(size_t bytes) override {
      void* const data = c10::alloc_cpu(bytes);
      c10::profiledCPUMemoryReporter().New(data, bytes);  // AllocationLog still hears of it
      if (own_ && data != nullptr) {
        const std::lock_guard lock(mutex_);
        own_->live += static_cast<int64_t>(bytes);
        own_->peak = std::max(own_->peak, own_->live);
        blocks_[data] = {own_, static_cast<int64_t>(bytes)};
      }
      return {data, data, &release, c10::Device(c10::kCPU)};
    }
    static void release(void* data) {
      if (data == nullptr) return;
      c10::profiledCPUMemoryReporter().Delete(data);
      {
        const std::lock_guard lock(mutex_);
        if (const auto found = blocks_.find(data); found != blocks_.end()) {
          found->second.count->live -= found->second.bytes;
          blocks_.erase(found);
        }
      }
      c10::free_cpu(data);
    }
    c10::DeleterFnPtr raw_deleter() const override { return &release; }
    void copy_data(void* to, const void* from, size_t bytes) const override {
      default_copy_data(to, from, bytes);
    }
  };

  std::shared_ptr<Count> count_;
  // Never destroyed: tensors are freed until the very end of the process.
  static inline std::mutex& mutex_ = *new std::mutex;
  static inline auto& blocks_ = *new std::unordered_map<const void*, Block>;
  static inline thread_local std::shared_ptr<Count> own_;
};

}  // namespace praxino::testing
