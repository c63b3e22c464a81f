#pragma once
// What one block keeps for the instructions of Hopper: barriers, copies of tiles, products of
// warpgroups, registers that warpgroups hand to each other. Internal to cuda_on_cpu.

#include <map>
#include <string>

#include "support/cuda_on_cpu/barriers.h"
#include "support/cuda_on_cpu/products.h"
#include "support/cuda_on_cpu/tile_copies.h"

namespace praxino::testing {

class Hopper {
 public:
  Hopper(void* shared, Clocks& clocks)
      : shared_(shared),
        threads_(clocks.engine()),
        barriers_(clocks),
        copies_(shared, clocks, barriers_),
        spare_registers_(0) {}

  Barriers& barriers() { return barriers_; }
  TileCopies& copies() { return copies_; }
  /// Of the thread's warpgroup.
  Products& products(int thread) {
    const int first = thread / kernels::kWarpgroup * kernels::kWarpgroup;
    return products_.try_emplace(first, shared_, first).first->second;
  }
  bool finish_a_copy(Memory& memory, uint64_t random) { return copies_.finish_one(memory, random); }

  /// The thread wants `count` registers. False where it has to wait for others to give some back.
  /// Throws MeetingViolation.
  bool set_registers(int thread, int count, bool more);

  /// What a thread that leaves the kernel, the last one or not, has not waited for: "before ...";
  /// else empty.
  std::string left_undone(int thread, bool last);

 private:
  /// What the compiler gives to each thread of a kernel that hands registers over: its share of
  /// 64 Ki in steps of 8, at most 240.
  int launch_registers() const { return std::min(65536 / threads_ / 8 * 8, 240); }

  void* shared_;
  int threads_;
  Barriers barriers_;
  TileCopies copies_;
  std::map<int, Products> products_;  // by first thread
  std::map<int, int> registers_;      // of threads that changed their number
  int spare_registers_;
};

}  // namespace praxino::testing
