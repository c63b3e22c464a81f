#pragma once
// The scheduler of emulated threads, and what a running thread asks for. Internal to cuda_on_cpu.

#include <list>
#include <random>

#include "support/cuda_on_cpu/block.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"
#include "support/cuda_on_cpu/memory.h"

namespace praxino::testing {

// Runs launches, one at a time: draws which thread goes on, and lets it run to its next meeting or
// interruption.
class Machine {
 public:
  explicit Machine(const CudaOnCpu::Options& options)
      : options_(options), random_(options.seed), memory_(options.host_memory) {}

  void run(const cpu::Launch& launch, const std::function<void()>& body);
  int multiprocessors() const { return options_.multiprocessors; }
  size_t shared_limit() const { return options_.shared_limit; }
  int launches() const { return static_cast<int>(launch_number_); }
  Memory& memory() { return memory_; }

  // Of the thread that runs now.
  cpu::Place place() const {
    return {current_.index, current_.block->size(), current_.block->number(), launch_->blocks};
  }
  void* shared_memory() const { return current_.block->shared(); }
  void read(const void* from, void* to, size_t bytes, const std::source_location& site);
  void write(void* to, const void* from, size_t bytes, const std::source_location& site);
  void require_aligned(const void* address, size_t bytes, const std::source_location& site) const;
  uint32_t meet(const Block::Meeting& meeting);
  /// Until `ready`; what changes that calls wake().
  void wait_until(const char* thing, const std::source_location& site,
                  const std::function<bool()>& ready);
  void wake(Block& block);
  void copy_async(void* to, const void* from, size_t bytes, const std::source_location& site);
  void commit_async();
  void wait_async(int groups, const std::source_location& site);

  Block& block() { return *current_.block; }
  int thread() const { return current_.index; }
  Actor actor() const {
    return {launch_number_, current_.block->number(), current_.index, &current_.block->clocks()};
  }
  void maybe_interrupt();
  uint64_t draw() { return random_(); }

  /// Makes a fault of what `access` throws.
  template <class Access>
  void guarded(const std::source_location& site, Access access) const {
    try {
      access();
    } catch (const MemoryViolation& violation) {
      fault(violation.text, site);
    } catch (const MeetingViolation& violation) {
      fault(violation.text, site);
    }
  }

 private:
  struct Runnable {
    Block* block;
    int index;
  };

  void start_block(int64_t number, const std::function<void()>& body);
  void retire(Block* block);
  void step();
  void finish_copy(const AsyncCopy& copy);
  bool finish_one_copy();
  void require_finished(const void* values, size_t bytes) const;
  [[noreturn]] void fault(const std::string& what, const std::source_location& site) const;

  CudaOnCpu::Options options_;
  std::mt19937_64 random_;
  Memory memory_;
  uint32_t launch_number_ = 0;
  const cpu::Launch* launch_ = nullptr;
  std::list<Block> blocks_;
  std::vector<Runnable> runnable_;
  Runnable current_{};
};

/// The machine of the CudaOnCpu that exists; throws std::logic_error without one.
Machine& current();

}  // namespace praxino::testing
