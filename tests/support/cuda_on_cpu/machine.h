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
  explicit Machine(const CudaOnCpu::Options& options) : options_(options), random_(options.seed) {}

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
  void copy_async(void* to, const void* from, size_t bytes, const std::source_location& site);
  void commit_async();
  void wait_async(int groups, const std::source_location& site);

 private:
  struct Runnable {
    Block* block;
    int index;
  };

  void start_block(int64_t number, const std::function<void()>& body);
  void retire(Block* block);
  void step();
  void finish_copy(const AsyncCopy& copy);
  void maybe_interrupt();
  Actor actor() const {
    return {launch_number_, current_.block->number(), current_.index, &current_.block->clocks()};
  }
  [[noreturn]] void fault(const std::string& what, const std::source_location& site) const;
  template <class Access>
  void guarded(const std::source_location& site, Access access) const;

  CudaOnCpu::Options options_;
  std::mt19937_64 random_;
  Memory memory_;
  uint32_t launch_number_ = 0;
  const cpu::Launch* launch_ = nullptr;
  std::list<Block> blocks_;
  std::vector<Runnable> runnable_;
  Runnable current_{};
};

}  // namespace praxino::testing
