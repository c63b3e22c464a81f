#include "kernels/frame_attention_hopper.h"

#include <algorithm>

#include "kernels/frame_attention_hopper.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

// How heads of a width are worked on: by so many warpgroups of 64 queries each, `kOfKeys` keys at a
// time, with so many tiles of keys, and of values, on their way.
template <int kOfWidth, int kOfWorkers, int kOfKeys, int kOfStages, int kOfRegisters>
struct Tiles {
  static constexpr int kWidth = kOfWidth;
  static constexpr int kWorkers = kOfWorkers;
  static constexpr int kRows = kWorkers * kTileRows;
  static constexpr int kKeys = kOfKeys;
  static constexpr int kStages = kOfStages;
  static constexpr int kThreads = kLoaders + kWorkers * kWarpgroup;
  static constexpr int kLoaderRegisters = kWorkers == 2 ? 24 : 32;
  static constexpr int kWorkerRegisters = kOfRegisters;
  // What the block begins with, which is what it can hand over.
  static constexpr int kRegisters = 65536 / kThreads / 8 * 8;
  static_assert(kLoaderRegisters + kWorkers * kWorkerRegisters <= kRegisters * (kWorkers + 1));
};
constexpr int kSlots = 2;  // of queries: the block's next ones come while it works

struct Forward {
  TileMap q, k, v, out;
  float* lse;
  AttentionShape shape;
  TileOrder order;
  TileRounds rounds;
  uint32_t round_count;
};

// A place in a ring of kStages, after so many before it.
template <int kStages>
struct Place {
  int stage;
  uint32_t parity;  // of the round in which it is filled; who fills waits for the other
  PRAXINO_DEVICE explicit Place(uint32_t before)
      : stage(static_cast<int>(before % kStages)), parity(before / kStages % 2) {}
};

// Which queries a slot holds, as it lies in shared memory.
struct alignas(16) Slot {
  Words words[3];
};
struct InSlot {
  QueryTile unit;
  int ends;  // 1: there are no more queries
  int fills_words;
};
PRAXINO_DEVICE void put(Slot* slot, const InSlot& value) {
  const Slot from = __builtin_bit_cast(Slot, value);
  PRAXINO_UNROLL
  for (int i = 0; i < 3; ++i) store_words(slot->words + i, from.words[i], PRAXINO_HERE);
}
PRAXINO_DEVICE InSlot get(const Slot* slot) {
  Slot to;
  PRAXINO_UNROLL
  for (int i = 0; i < 3; ++i) to.words[i] = load_words(slot->words + i, PRAXINO_HERE);
  return __builtin_bit_cast(InSlot, to);
}

// The block's shared memory. Tiles begin at multiples of kSwizzleBytes.
template <class T>
struct Shared {
  static constexpr int kQueries = tile_bytes(T::kRows, T::kWidth);
  static constexpr int kTile = tile_bytes(T::kKeys, T::kWidth);
  char* q;
  char* k;
  char* v;
  Slot* slots;
  Barrier* q_full;
  Barrier* q_empty;
  Barrier* k_full;
  Barrier* v_full;
  Barrier* k_empty;
  Barrier* v_empty;
  PRAXINO_DEVICE Shared() {
    q = reinterpret_cast<char*>(shared_floats());
    k = q + kSlots * kQueries;
    v = k + T::kStages * kTile;
    q_full = reinterpret_cast<Barrier*>(v + T::kStages * kTile);
    q_empty = q_full + kSlots;
    k_full = q_empty + kSlots;
    v_full = k_full + T::kStages;
    k_empty = v_full + T::kStages;
    v_empty = k_empty + T::kStages;
    slots = reinterpret_cast<Slot*>(v_empty + T::kStages);
  }
  static constexpr int kBarriers = 2 * kSlots + 4 * T::kStages;
  static constexpr size_t kBytes = size_t{kSlots * kQueries} + size_t{2 * T::kStages * kTile} +
                                   sizeof(Barrier) * kBarriers + sizeof(Slot) * kSlots;
};

// Keys of a tile before values of the one before, which is the order in which they are used.
template <class T>
PRAXINO_DEVICE void load_all(const Forward& p, const Shared<T>& shared) {
  if (thread_index() != 0) return;
  constexpr int kTile = Shared<T>::kTile;
  uint32_t tiles = 0, taken = 0;  // of keys, of queries, so far
  int token = 0, key_head = 0, batch = 0;
  const auto load_values = [&] {
    const Place<T::kStages> at(tiles - 1);
    wait(shared.v_empty + at.stage, at.parity ^ 1U);
    arrive_and_expect(shared.v_full + at.stage, kTile);
    load_rows<T::kWidth>(shared.v + at.stage * kTile, p.v, T::kKeys, token, key_head, batch,
                         shared.v_full + at.stage);
  };
  for (uint32_t round = 0; round < p.round_count; ++round) {
    const int64_t number = p.rounds.unit(block_index(), round);
    if (number < 0) continue;
    const QueryTile unit = query_tile<T::kRows>(p.shape, p.order.unit(number));
    const Place<kSlots> slot(taken++);
    wait(shared.q_empty + slot.stage, slot.parity ^ 1U);
    put(shared.slots + slot.stage, {unit, 0, 0});
    arrive_and_expect(shared.q_full + slot.stage, Shared<T>::kQueries);
    load_rows<T::kWidth>(shared.q + slot.stage * Shared<T>::kQueries, p.q, T::kRows,
                         unit.queries.begin, unit.head, unit.batch, shared.q_full + slot.stage);
    const int count = tiles_of(unit.seen, T::kKeys);
    for (int index = 0; index < count; ++index) {
      const Place<T::kStages> at(tiles);
      const int next = tile_of(unit.seen, index, T::kKeys).begin;
      wait(shared.k_empty + at.stage, at.parity ^ 1U);
      arrive_and_expect(shared.k_full + at.stage, kTile);
      load_rows<T::kWidth>(shared.k + at.stage * kTile, p.k, T::kKeys, next, unit.key_head,
                           unit.batch, shared.k_full + at.stage);
      if (tiles > 0) load_values();
      ++tiles;
      token = next;
      key_head = unit.key_head;
      batch = unit.batch;
    }
  }
  if (tiles > 0) load_values();
  const Place<kSlots> slot(taken);
  wait(shared.q_empty + slot.stage, slot.parity ^ 1U);
  put(shared.slots + slot.stage, {{}, 1, 0});
  arrive(shared.q_full + slot.stage);
}

// Of the two rows of which a thread has a part.
struct Rows {
  float best[2] = {kMinusInfinity,
                   kMinusInfinity};  // what weights are relative to, at most 2^8 below the best
  float sum[2] = {0, 0};             // of what this thread has seen
};

// Queries begin at `first`.
template <int kKeys>
PRAXINO_DEVICE void hide(Accumulator<kKeys>& s, const FrameMask& mask, int first, const Range& keys,
                         int lane) {
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    const FragmentSpot spot = warpgroup_d(lane, 2 * half);
    const int query = first + spot.row, begin = keys.begin + spot.column;
    const Ranges seen = mask.keys_of({query, query + 1});
    const int sunk = smaller(seen.sinks.end, keys.end) - begin;
    const int from = seen.near.begin - begin;
    const int to = larger(smaller(seen.near.end, keys.end) - begin, from);
    PRAXINO_UNROLL
    for (int i = 2 * half; i < kKeys / 2; i += 4) {
      PRAXINO_UNROLL
      for (int j = 0; j < 2; ++j) {
        const int column = warpgroup_d(0, i + j).column;
        const bool near = static_cast<unsigned>(column - from) < static_cast<unsigned>(to - from);
        if (!(near | (column < sunk))) s.v[i + j] = kMinusInfinity;
      }
    }
  }
}

// Scores become weights; `shrink` is what brings earlier results to the same base. The base of a
// row changes only where the best score has grown by more than a factor 2^8 of its weight.
template <int kKeys>
PRAXINO_DEVICE void weigh(Accumulator<kKeys>& s, Rows& rows, float (&shrink)[2], float scale) {
  constexpr float kSlack = 8;
  float best[2], other[2];  // two of each kind: short chains of dependent instructions
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    best[half] = s.v[2 * half];
    other[half] = s.v[2 * half + 1];
  }
  PRAXINO_UNROLL
  for (int i = 4; i < kKeys / 2; i += 2) {
    best[i / 2 % 2] = fmaxf(best[i / 2 % 2], s.v[i]);
    other[i / 2 % 2] = fmaxf(other[i / 2 % 2], s.v[i + 1]);
  }
  float base[2], sums[2][2];
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    best[half] = fmaxf(best[half], other[half]);
    best[half] = fmaxf(best[half], shuffle_xor(best[half], 1));
    best[half] = fmaxf(best[half], shuffle_xor(best[half], 2));
    const float before = rows.best[half];
    const bool grows = best[half] * scale > before * scale + kSlack;
    rows.best[half] = grows ? best[half] : before;
    // Of a row that has seen nothing all weights are 0.
    base[half] = rows.best[half] == kMinusInfinity ? 0.0F : rows.best[half] * scale;
    shrink[half] = grows ? exp2_fast(before * scale - base[half]) : 1.0F;
    sums[half][0] = rows.sum[half] * shrink[half];
    sums[half][1] = 0;
  }
  PRAXINO_UNROLL
  for (int i = 0; i < kKeys / 2; ++i) {
    s.v[i] = exp2_fast(s.v[i] * scale - base[i / 2 % 2]);
    sums[i / 2 % 2][i % 2] += s.v[i];
  }
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) rows.sum[half] = sums[half][0] + sums[half][1];
}

template <int kWidth>
PRAXINO_DEVICE void shrink_rows(Accumulator<kWidth>& out, const float (&shrink)[2]) {
  if (shrink[0] == 1.0F && shrink[1] == 1.0F) return;
  PRAXINO_UNROLL
  for (int i = 0; i < kWidth / 2; ++i) out.v[i] *= shrink[i / 2 % 2];
}

// Divides by the sums, writes logarithms, and begins to write results by way of the queries, which
// no product reads any more.
template <class T>
PRAXINO_DEVICE void finish(const Forward& p, char* queries, const QueryTile& unit, int worker,
                           const Rows& rows, const Accumulator<T::kWidth>& out) {
  const int lane = thread_index() % kWarpgroup;
  float inverse[2];
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    float sum = rows.sum[half];
    sum += shuffle_xor(sum, 1);
    sum += shuffle_xor(sum, 2);
    inverse[half] = sum == 0 ? 0.0F : 1.0F / sum;
    const FragmentSpot spot = warpgroup_d(lane, 2 * half);
    const int query = unit.queries.begin + worker * kTileRows + spot.row;
    if (spot.column == 0 && query < p.shape.mask.queries) {
      const float lse = (rows.best[half] * p.shape.scale * kLog2E + log2_fast(sum)) * kLn2;
      store(p.lse + int64_t{unit.problem} * p.shape.mask.queries + query,
            sum == 0 ? kMinusInfinity : lse);
    }
  }
  begin_store_rows(out, inverse, queries, T::kRows, p.out, unit.queries.begin, unit.head,
                   unit.batch);
}

// Warpgroups take turns at beginning products: while those of one run, others make weights of their
// scores. Named barriers behind those of begin_store_rows().
template <class T>
PRAXINO_DEVICE void take_turn(int worker) {
  sync_named(1 + T::kWorkers + worker, 2 * kWarpgroup);
}
template <class T>
PRAXINO_DEVICE void pass_turn(int worker) {
  const int next = worker == T::kWorkers - 1 ? 0 : worker + 1;
  arrive_named(1 + T::kWorkers + next, 2 * kWarpgroup);
}

// Gives back the slot whose results the thread stored last.
template <class T>
PRAXINO_DEVICE void release_slot(const Shared<T>& shared, uint32_t taken) {
  if (taken == 0 || thread_index() % kWarpgroup != 0) return;
  wait_stores_read<0>();
  arrive(shared.q_empty + Place<kSlots>(taken - 1).stage);
}

// One tile of queries, after `taken` others and `before` tiles of keys. Scores of the next tile of
// keys are under way while the results of this one are, and while its own become weights only those
// are.
template <class T>
PRAXINO_DEVICE void attend(const Forward& p, const Shared<T>& shared, const QueryTile& unit,
                           int worker, uint32_t taken, uint32_t before) {
  constexpr int kTile = Shared<T>::kTile, kSteps = T::kKeys / kTileDepth;
  using At = Place<T::kStages>;
  const int lane = thread_index() % kWarpgroup;
  const int row = worker * kTileRows, tiles = tiles_of(unit.seen, T::kKeys);
  const float scale = p.shape.scale * kLog2E;
  const FrameMask& mask = p.shape.mask;
  char* const queries = shared.q + Place<kSlots>(taken).stage * Shared<T>::kQueries;
  Rows rows;
  Accumulator<T::kWidth> out;
  clear(out);
  if (tiles == 0) {
    release_slot(shared, taken);
    finish<T>(p, queries, unit, worker, rows, out);
    return;
  }
  Accumulator<T::kKeys> s;
  FragmentA weights[kSteps];
  float shrink[2];
  At keys(before);
  wait(shared.k_full + keys.stage, keys.parity);
  fence_products(s);
  multiply_rows<T::kWidth>(s, queries, T::kRows, row, shared.k + keys.stage * kTile);
  commit_products();
  release_slot(shared, taken);
  const int first = unit.queries.begin + row;
  const Ranges seen_by_all = mask.keys_of_all({first, smaller(first + kTileRows, mask.queries)});
  const auto weigh_tile = [&](int index) {
    const Range range = tile_of(unit.seen, index, T::kKeys);
    if (range.size() < T::kKeys || !seen_by_all.covers(range)) hide(s, mask, first, range, lane);
    weigh(s, rows, shrink, scale);
  };
  wait_products<0>(s);
  release(shared.k_empty + keys.stage);
  weigh_tile(0);
  PRAXINO_UNROLL
  for (int step = 0; step < kSteps; ++step) weights[step] = as_operand(s, step);
  PRAXINO_NO_UNROLL
  for (int index = 1; index < tiles; ++index) {
    const At values = keys;
    keys = At(before + static_cast<uint32_t>(index));
    wait(shared.k_full + keys.stage, keys.parity);
    wait(shared.v_full + values.stage, values.parity);
    take_turn<T>(worker);
    fence_products(s, out, weights);
    multiply_rows<T::kWidth>(s, queries, T::kRows, row, shared.k + keys.stage * kTile);
    commit_products();
    add_product<T::kWidth, kSteps>(out, weights, shared.v + values.stage * kTile);
    commit_products();
    pass_turn<T>(worker);
    wait_products<1>(s);
    release(shared.k_empty + keys.stage);
    weigh_tile(index);
    wait_products<0>(out, weights);
    release(shared.v_empty + values.stage);
    shrink_rows(out, shrink);
    PRAXINO_UNROLL
    for (int step = 0; step < kSteps; ++step) weights[step] = as_operand(s, step);
  }
  wait(shared.v_full + keys.stage, keys.parity);
  fence_products(out, weights);
  add_product<T::kWidth, kSteps>(out, weights, shared.v + keys.stage * kTile);
  commit_products();
  wait_products<0>(out, weights);
  release(shared.v_empty + keys.stage);
  finish<T>(p, queries, unit, worker, rows, out);
}

template <class T>
PRAXINO_DEVICE void work(const Forward& p, const Shared<T>& shared) {
  // Of the whole warp, as the compiler sees by this.
  const int worker = uniform(thread_index() / kWarpgroup - 1);
  if (worker == T::kWorkers - 1) pass_turn<T>(worker);
  uint32_t tiles = 0;
  PRAXINO_NO_UNROLL
  for (uint32_t taken = 0;; ++taken) {
    const Place<kSlots> slot(taken);
    wait(shared.q_full + slot.stage, slot.parity);
    const InSlot next = get(shared.slots + slot.stage);
    if (next.ends != 0) break;
    attend<T>(p, shared, next.unit, worker, taken, tiles);
    tiles += static_cast<uint32_t>(tiles_of(next.unit.seen, T::kKeys));
  }
  // The block's memory lives as long as it does.
  if (thread_index() % kWarpgroup == 0) wait_stores_read<0>();
}

template <class T>
PRAXINO_KERNEL(T::kThreads, 1)
frame_attention_hopper_kernel(PRAXINO_PARAMETERS Forward p) {
#if PRAXINO_HAS_WARPGROUPS
  const Shared<T> shared;
  const auto init = [&] {
    for (int slot = 0; slot < kSlots; ++slot) {
      init_barrier(shared.q_full + slot, 1);
      init_barrier(shared.q_empty + slot, T::kWorkers);
    }
    for (int stage = 0; stage < T::kStages; ++stage) {
      init_barrier(shared.k_full + stage, 1);
      init_barrier(shared.v_full + stage, 1);
      init_barrier(shared.k_empty + stage, 4 * T::kWorkers);
      init_barrier(shared.v_empty + stage, 4 * T::kWorkers);
    }
  };
  take_roles<T::kLoaderRegisters, T::kWorkerRegisters>(
      init, [&] { load_all<T>(p, shared); }, [&] { work<T>(p, shared); });
#else
  __trap();
#endif
}

template <class T>
Status launch_tiles(const FrameAttention& p, Stream stream) {
  const AttentionShape& s = p.shape;
  TileOrder order = queries_order(s, T::kRows);
  if (order.blocks() == 0) return {};
  if (order.blocks() > INT32_MAX || s.mask.keys == 0) return kRefused;
  // Tiles of one frame are equally long: those that read the same keys run side by side. Of others,
  // spans are long, for the sake of their last round.
  const bool equal = s.mask.frame_of_query(0) == s.mask.frame_of_query(s.mask.queries - 1);
  order.group = equal ? s.shared_by() : std::max(order.group, 16 * s.shared_by());
  const int64_t span = equal ? order.blocks() : std::min(order.group, order.problems) * order.tiles;
  Forward f{.q = {},
            .k = {},
            .v = {},
            .out = {},
            .lse = p.lse,
            .shape = s,
            .order = order,
            .rounds = {},
            .round_count = 0};
  const Status made[] = {
      make_head_map(f.q, p.q.data, p.q.strides, s, s.mask.queries, s.heads, T::kRows),
      make_head_map(f.k, p.k.data, p.k.strides, s, s.mask.keys, s.key_heads, T::kKeys),
      make_head_map(f.v, p.v.data, p.v.strides, s, s.mask.keys, s.key_heads, T::kKeys),
      make_head_map(f.out, p.out.data, p.out.strides, s, s.mask.queries, s.heads, kTileRows)};
  for (const Status& status : made) {
    if (!status.ok()) return status;
  }
  const int64_t blocks = std::min<int64_t>(order.blocks(), multiprocessors());
  f.rounds = {.units = order.blocks(), .span = span, .blocks = blocks};
  f.round_count = f.rounds.rounds();
  return launch(frame_attention_hopper_kernel<T>,
                {"frame_attention_hopper", blocks, T::kThreads, Shared<T>::kBytes}, f, stream);
}

// At width 64 weights of scores take as long as products: more warps, of fewer registers, hide more
// of them. Few queries are spread over more blocks, and leave no warp without work.
using Tiles128 = Tiles<128, 2, 128, 2, 240>;
using Tiles64 = Tiles<64, 4, 64, 6, 112>;
using Tiles64Few = Tiles<64, 2, 128, 4, 240>;

}  // namespace

Status launch_frame_attention_hopper(const FrameAttention& p, Stream stream) {
  if (!in_range(p.shape) || p.norm.query_gain != nullptr) return kRefused;
  if (!readable(p.q) || !readable(p.k) || !readable(p.v) || !readable(p.out)) return kRefused;
  if (p.shape.width == 128) return launch_tiles<Tiles128>(p, stream);
  const bool few = p.shape.mask.queries <= Tiles64Few::kRows ||
                   2 * queries_order(p.shape, Tiles64::kRows).blocks() <= multiprocessors();
  return few ? launch_tiles<Tiles64Few>(p, stream) : launch_tiles<Tiles64>(p, stream);
}

}  // namespace praxino::kernels
