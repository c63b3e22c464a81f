#pragma once
// Products of the warpgroups of a block: begun by each of 128 threads, computed when all have begun
// them and one waits. Until its wait, a thread's accumulators hold a NaN of our own, which shows
// when something touches them. Internal to cuda_on_cpu.

#include <array>
#include <deque>
#include <memory>
#include <source_location>
#include <vector>

#include "kernels/device/on_cpu_hopper.h"
#include "kernels/warpgroup_tiles.h"
#include "support/cuda_on_cpu/memory.h"

namespace praxino::testing {

/// What an accumulator holds while its product is under way.
inline constexpr uint32_t kUnfinished = 0x7fc5a5a5U;

/// One warpgroup. Lanes are its threads, 0 .. 127.
class Products {
 public:
  using Product = kernels::device::cpu::Product;
  using Registers = kernels::device::cpu::Registers;
  /// The window of shared memory, and the warpgroup's first thread.
  Products(const void* shared, int first_thread) : shared_(shared), first_(first_thread) {}

  // Each throws MeetingViolation or MemoryViolation.
  void fence(int lane, const Registers* registers, int count);
  void begin(Memory& memory, const Actor& actor, int lane, const Product& product,
             const std::source_location& site, uint64_t random);
  void commit(int lane);
  /// The number of products that must have been computed for a wait.
  int64_t awaited(int lane, int groups);
  /// True where all threads have begun that many.
  bool begun(int64_t count) const;
  /// Computes them, and hands the thread its part. `registers`: what the wait names.
  void finish(Memory& memory, const Actor& actor, int lane, int64_t count,
              const Registers* registers, int named);
  bool has_open(int lane) const { return !lanes_[static_cast<size_t>(lane)].open.empty(); }

 private:
  static constexpr int kLanes = kernels::kWarpgroup;
  struct Flight {  // an accumulator from the first product to the wait
    int columns;
    int64_t last;               // the latest product that adds to it
    std::vector<float> values;  // columns / 2 of each lane
    float* of(int lane) { return values.data() + size_t(lane) * size_t(columns) / 2; }
  };
  struct Operation {
    Product product;  // of the thread that began it first
    std::source_location site;
    int starter;
    int checker;  // the lane on whose behalf shared memory is read, from its call to its wait
    int lanes = 0;
    int delivered = 0;
    bool computed = false;
    std::shared_ptr<Flight> flight;
    std::array<const uint32_t*, kLanes> a_at{};
    std::array<std::array<uint32_t, 4>, kLanes> a{};
  };
  struct Fenced {
    const std::byte* data;
    std::vector<std::byte> bytes;
  };
  struct Open {
    float* d;
    std::shared_ptr<Flight> flight;
  };
  struct Lane {
    int64_t begun = 0;
    int64_t waited = 0;
    std::deque<int64_t> groups;  // how many products had been begun at each commit
    std::vector<Fenced> fenced;
    std::vector<Open> open;
  };

  Operation& at(int64_t number) { return operations_[static_cast<size_t>(number - gone_)]; }
  Operation& operation_of(int lane, const Product& product, const std::source_location& site,
                          uint64_t random);
  void take_flight(Operation& operation, int lane, const Product& product);
  void require_fenced(const Lane& lane, const void* data, size_t bytes) const;
  template <class Visit>
  void each_operand(const Operation& operation, Visit visit) const;
  void check_reads(Memory& memory, const Operation& operation, const Actor& actor) const;
  void compute(const Memory& memory, Operation& operation);
  void deliver(int lane, Open& open, const Registers* registers, int named);

  const void* shared_;
  int first_;
  std::array<Lane, kLanes> lanes_;
  std::deque<Operation> operations_;
  int64_t gone_ = 0;  // operations that all lanes have waited for
};

}  // namespace praxino::testing
