#pragma once
// Copies of tiles that a block has under way. They end one by one, in any order, at any time before
// the wait for them. Internal to cuda_on_cpu.

#include <deque>
#include <vector>

#include "kernels/device/on_cpu_hopper.h"
#include "support/cuda_on_cpu/barriers.h"
#include "support/cuda_on_cpu/memory.h"

namespace praxino::testing {

class TileCopies {
 public:
  TileCopies(void* shared, Clocks& clocks, Barriers& barriers)
      : shared_(shared), clocks_(clocks), barriers_(barriers) {}

  // Each throws MemoryViolation or MeetingViolation.
  void load(Memory& memory, const Actor& actor, void* shared,
            const kernels::device::cpu::TensorTiles& tensor, const int* corner, void* barrier);
  void store(Memory& memory, const Actor& actor, const kernels::device::cpu::TensorTiles& tensor,
             const int* corner, const void* shared);
  void commit(int thread);
  void wait(Memory& memory, const Actor& actor, int groups, bool only_read);

  /// Ends one copy, drawn by `random`; false where there is none.
  bool finish_one(Memory& memory, uint64_t random);
  /// At the end of the block: stores that nobody waited for.
  void finish_stores(Memory& memory);
  /// Stores that may still read shared memory when their thread leaves.
  bool has_unread(int thread) const;
  bool has_loads() const;

 private:
  struct Piece {  // contiguous bytes
    void* to;
    std::vector<std::byte> bytes;
  };
  struct Copy {
    const void* barrier;  // of a load
    std::vector<Piece> pieces;
    Actor actor;
    int64_t group = 0;  // of a store, counted by its thread
    uint32_t read = 0;  // when its shared memory was read
    bool waited_read = false;
    size_t box_bytes = 0;
  };
  struct Row {  // of a tile, inside of the tensor
    std::byte* global;
    size_t bytes;
    uint32_t offset;  // in the tile, before the swizzle
  };

  static std::vector<Row> rows_of(const kernels::device::cpu::TensorTiles& tensor,
                                  const int* corner);
  void check_place(const kernels::device::cpu::TensorTiles& tensor, const void* shared) const;
  void finish(Memory& memory, const Copy& copy);
  Actor engine(const Actor& actor) const;

  void* shared_;
  Clocks& clocks_;
  Barriers& barriers_;
  std::deque<Copy> copies_;
  std::map<int, int64_t> groups_;  // committed by each thread
};

}  // namespace praxino::testing
