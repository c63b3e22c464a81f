#pragma once
// What the two backward passes of attention over frames on Hopper share: rings of any length, and
// how a block goes from one unit of its work to the next.

#include "kernels/frame_attention_hopper.cuh"

namespace praxino::kernels::device {

/// Where one is in a ring of stages. `parity` is that of the phase in which the stage's full
/// barrier is waited for, and the other that of its empty one.
template <int kOf>
struct RingPlace {
  int stage = 0;
  uint32_t parity = 0;
  PRAXINO_DEVICE void advance() {
    if (++stage < kOf) return;
    stage = 0;
    parity ^= 1U;
  }
};

/// Barriers of a ring: how many arrive at a stage that is full, at one that is empty. By one
/// thread.
PRAXINO_DEVICE void init_ring(int stages, Barrier* full, int filled, Barrier* empty, int emptied) {
  for (int stage = 0; stage < stages; ++stage) {
    init_barrier(full + stage, filled);
    init_barrier(empty + stage, emptied);
  }
}

/// Hides what is not seen of one of a thread's two rows of scores (`half`): their columns are those
/// of `columns`, and none from its end on. Comparisons are with constants.
template <int N>
PRAXINO_DEVICE void hide_row(Accumulator<N>& s, int half, const Ranges& seen, const Range& columns,
                             int lane) {
  const int begin = columns.begin + warpgroup_d(lane, 0).column;
  const int sunk = smaller(seen.sinks.end, columns.end) - begin, from = seen.near.begin - begin;
  const int to = larger(smaller(seen.near.end, columns.end) - begin, from);
  PRAXINO_UNROLL
  for (int i = 2 * half; i < N / 2; i += 4) {
    PRAXINO_UNROLL
    for (int j = 0; j < 2; ++j) {
      const int column = warpgroup_d(0, i + j).column;
      const bool near = static_cast<unsigned>(column - from) < static_cast<unsigned>(to - from);
      if (!(near | (column < sunk))) s.v[i + j] = kMinusInfinity;
    }
  }
}

/// The tiles of a kernel and who takes which. Where all are about equally long, one block a
/// multiprocessor takes one after the other: while it works on one, the next one's rows come. Tiles
/// of one frame lie side by side, for the sake of what they share. Others have a block each, the
/// longest first: whoever is done takes the next.
struct Walk {
  TileOrder order;
  TileRounds rounds;
  uint32_t round_count = 0;
};

inline bool in_one_frame(const FrameMask& mask) {
  return mask.frame_of_query(0) == mask.frame_of_query(mask.queries - 1);
}
inline bool equally_long(const FrameMask& mask) {
  const int64_t window = int64_t{mask.window} * mask.tokens;
  return in_one_frame(mask) || (mask.window > 0 && 4 * window <= mask.queries);
}

inline Walk walk_of(TileOrder order, const FrameMask& mask) {
  if (in_one_frame(mask)) order.group = 1;
  const int64_t units = order.blocks();
  const int64_t blocks = equally_long(mask) ? std::min<int64_t>(units, multiprocessors()) : units;
  Walk walk{.order = order, .rounds = {.units = units, .span = units, .blocks = blocks}};
  walk.round_count = walk.rounds.rounds();
  return walk;
}

/// Calls step(unit) for each of the block's tiles. By who loads: the others find theirs in a slot.
template <class Step>
PRAXINO_DEVICE void walk_tiles(const Walk& walk, Step step) {
  PRAXINO_NO_UNROLL
  for (uint32_t round = 0; round < walk.round_count; ++round) {
    const int64_t number = walk.rounds.unit(block_index(), round);
    if (number >= 0) step(walk.order.unit(number));
  }
}

/// A tile's place, and what its warpgroups look at element by element, found by who loads and read
/// from shared memory by all: a dozen divisions.
template <class T>
struct alignas(16) Slot {
  Words words[sizeof(T) / sizeof(Words)];
};
template <class T>
PRAXINO_DEVICE void put(Slot<T>* slot, const T& value, Site site = PRAXINO_HERE) {
  const auto from = __builtin_bit_cast(Slot<T>, value);
  PRAXINO_UNROLL
  for (size_t i = 0; i < sizeof(T) / sizeof(Words); ++i)
    store_words(slot->words + i, from.words[i], site);
}
template <class T>
PRAXINO_DEVICE T get(const Slot<T>* slot, Site site = PRAXINO_HERE) {
  Slot<T> to;
  PRAXINO_UNROLL
  for (size_t i = 0; i < sizeof(T) / sizeof(Words); ++i)
    to.words[i] = load_words(slot->words + i, site);
  return __builtin_bit_cast(T, to);
}

}  // namespace praxino::kernels::device
