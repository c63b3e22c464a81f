#include "kernels/frame_attention_hopper.h"
#include "kernels/frame_attention_hopper_backward.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

// Of a set of rows.
struct alignas(16) Unit {
  QueryTile tile;
  int ends;  // 1: there are no more
};

// How the kernel is cut: warpgroups that compute, and their registers; tiles of kOfKeys keys;
// kOfSets sets of the block's own rows, so that the next unit's are there when this one's are done;
// a ring of kOfStages tiles of keys and values.
template <int kOfWidth, int kOfWorkers, int kOfRegisters, int kOfKeys, int kOfSets, int kOfStages>
struct Cut {
  static constexpr int kWidth = kOfWidth, kKeys = kOfKeys, kSets = kOfSets, kRing = kOfStages;
  static constexpr int kWorkers = kOfWorkers, kRegisters = kOfRegisters;
  static constexpr int kQueries = kWorkers * kTileRows;
  static constexpr int kThreads = kLoaders + kWorkers * kWarpgroup;
  static constexpr int kSteps = kKeys / kTileDepth;
  static constexpr int kRows = tile_bytes(kQueries, kWidth);
  static constexpr int kTile = tile_bytes(kKeys, kWidth);
  // A stage also brings the results of the block's rows.
  static constexpr int kStage = 2 * kTile > kRows ? 2 * kTile : kRows;
  // Results come after the first tile of keys; of two stages that one still has the first when the
  // second tile wants it.
  static constexpr bool kResultsFirst = kRing == 2;
  // Where scores, their gradients and the sums of a row leave few registers, a product of the last
  // tile has to end before the second of the next begins.
  static constexpr bool kTight = kKeys + kKeys / 4 + kWidth / 2 + 24 > kRegisters;
  // What the block begins with, which is what it can hand over.
  static constexpr int kBegins = 65536 / kThreads / 8 * 8;
  static_assert(kLoaderRegisters + kWorkers * kRegisters <= kBegins * (kWorkers + 1));
  static constexpr size_t kBytes = size_t{2 * kSets * kRows} + size_t{kRing * kStage} +
                                   (sizeof(Slot<Unit>) + sizeof(Slot<Ranges>) * kWorkers) * kSets +
                                   sizeof(Barrier) * 2 * (kSets + kRing);
};

struct Backward {
  TileMap q, grad, k, v, out, grad_q;
  const float* lse;
  float* delta;
  Walk walk;
  AttentionShape shape;
};

template <class C>
struct Shared {
  char* rows;             // of each set: queries, then gradients of results
  char* tiles;            // of each stage: keys, then values; or results
  Slot<Unit>* units;      // of each set
  Slot<Ranges>* seen_by;  // keys that all rows of each warpgroup of each set see
  Barrier* rows_full;
  Barrier* rows_empty;
  Barrier* full;
  Barrier* empty;
  PRAXINO_DEVICE Shared() {
    rows = reinterpret_cast<char*>(shared_floats());
    tiles = rows + 2 * C::kSets * C::kRows;
    units = reinterpret_cast<Slot<Unit>*>(tiles + C::kRing * C::kStage);
    seen_by = reinterpret_cast<Slot<Ranges>*>(units + C::kSets);
    rows_full = reinterpret_cast<Barrier*>(seen_by + C::kSets * C::kWorkers);
    rows_empty = rows_full + C::kSets;
    full = rows_empty + C::kSets;
    empty = full + C::kRing;
  }
  PRAXINO_DEVICE char* q(int set) const { return rows + 2 * set * C::kRows; }
  PRAXINO_DEVICE char* grad(int set) const { return q(set) + C::kRows; }
  PRAXINO_DEVICE char* k(int stage) const { return tiles + stage * C::kStage; }
  PRAXINO_DEVICE char* v(int stage) const { return k(stage) + C::kTile; }
};

// Of each unit the block's own rows and the keys and values they see; what the rows' results were
// comes after the first tile of keys.
template <class C>
PRAXINO_DEVICE void load_all(const Backward& p, const Shared<C>& shared) {
  if (thread_index() != 0) return;
  constexpr int kWidth = C::kWidth;
  RingPlace<C::kSets> set;
  RingPlace<C::kRing> at;
  const auto next_stage = [&](int bytes) {
    wait(shared.empty + at.stage, at.parity ^ 1U);
    arrive_and_expect(shared.full + at.stage, bytes);
    return shared.full + at.stage;
  };
  walk_tiles(p.walk, [&](const TileOrder::Unit& number) {
    const QueryTile unit = query_tile<C::kQueries>(p.shape, number);
    wait(shared.rows_empty + set.stage, set.parity ^ 1U);
    put(shared.units + set.stage, {unit, 0});
    for (int worker = 0; worker < C::kWorkers; ++worker) {
      const int first = unit.queries.begin + worker * kTileRows;
      const Range own{first, smaller(first + kTileRows, p.shape.mask.queries)};
      put(shared.seen_by + set.stage * C::kWorkers + worker, p.shape.mask.keys_of_all(own));
    }
    Barrier* rows_full = shared.rows_full + set.stage;
    arrive_and_expect(rows_full, 2 * C::kRows);
    load_rows<kWidth>(shared.q(set.stage), p.q, C::kQueries, unit.queries.begin, unit.head,
                      unit.batch, rows_full);
    load_rows<kWidth>(shared.grad(set.stage), p.grad, C::kQueries, unit.queries.begin, unit.head,
                      unit.batch, rows_full);
    set.advance();
    const auto load_results = [&] {
      Barrier* full = next_stage(C::kRows);
      load_rows<kWidth>(shared.k(at.stage), p.out, C::kQueries, unit.queries.begin, unit.head,
                        unit.batch, full);
      at.advance();
    };
    const int tiles = tiles_of(unit.seen, C::kKeys);
    if (C::kResultsFirst || tiles == 0) load_results();
    for (int index = 0; index < tiles; ++index) {
      const int token = tile_of(unit.seen, index, C::kKeys).begin;
      Barrier* full = next_stage(2 * C::kTile);
      load_rows<kWidth>(shared.k(at.stage), p.k, C::kKeys, token, unit.key_head, unit.batch, full);
      load_rows<kWidth>(shared.v(at.stage), p.v, C::kKeys, token, unit.key_head, unit.batch, full);
      at.advance();
      if (!C::kResultsFirst && index == 0) load_results();
    }
  });
  wait(shared.rows_empty + set.stage, set.parity ^ 1U);
  put(shared.units + set.stage, {{}, 1});
  arrive(shared.rows_full + set.stage);
}

// Of the two rows of which a thread has a part.
struct Rows {
  int first;       // of the warpgroup
  float lse[2];    // to base 2; infinity for a row that sees nothing, or is none
  float delta[2];  // the sum of grad * out
};

// The part of one lane of four; in tiles as copied, in an order in which lanes meet in no bank.
template <class C>
PRAXINO_DEVICE float delta_of(const char* out, const char* grad, int row, int lane) {
  float sum = 0;
  PRAXINO_UNROLL
  for (int i = 0; i < C::kWidth / 32; ++i) {
    const int column = 64 * (i / 2) + 32 * ((i + row) % 2) + 8 * (lane % 4);
    const uint32_t at = boxed_offset(row, column, C::kQueries);
    const Vector<8> o = load_vector<8>(reinterpret_cast<const Bf16*>(out + at));
    const Vector<8> g = load_vector<8>(reinterpret_cast<const Bf16*>(grad + at));
    PRAXINO_UNROLL
    for (int j = 0; j < 8; ++j) sum += o.v[j] * g.v[j];
  }
  return group_sum(sum, 4);
}

template <class C>
PRAXINO_DEVICE void find_deltas(const Backward& p, const QueryTile& unit, Rows& rows,
                                const char* out, const char* grad, int lane) {
  const int64_t row = int64_t{unit.problem} * p.shape.mask.queries;
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    const FragmentSpot spot = warpgroup_d(lane, 2 * half);
    const int query = rows.first + spot.row;
    rows.delta[half] = delta_of<C>(out, grad, query - unit.queries.begin, lane);
    if (query < p.shape.mask.queries && spot.column == 0)
      store(p.delta + row + query, rows.delta[half]);
  }
}

// As they lie in memory: first needed when their copy has long come.
PRAXINO_DEVICE void load_sums(const Backward& p, const QueryTile& unit, Rows& rows, int lane) {
  const int64_t row = int64_t{unit.problem} * p.shape.mask.queries;
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int query = rows.first + warpgroup_d(lane, 2 * half).row;
    rows.lse[half] = query < p.shape.mask.queries ? load(p.lse + row + query) : kMinusInfinity;
  }
}

// Queries begin at `first`.
template <int kKeys>
PRAXINO_DEVICE void hide(Accumulator<kKeys>& s, const FrameMask& mask, int first, const Range& keys,
                         int lane) {
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int query = first + warpgroup_d(lane, 2 * half).row;
    hide_row(s, half, mask.keys_of({query, query + 1}), keys, lane);
  }
}

// Of one unit. Scores of the next tile of keys are under way while the gradient of this one is
// added. begin() is called once, while those of the first are.
template <class C, class Begin>
PRAXINO_DEVICE void add_tiles(const Backward& p, const Shared<C>& shared, const QueryTile& unit,
                              const Ranges& seen_by_all, const Rows& rows, int set,
                              RingPlace<C::kRing>& at, Accumulator<C::kWidth>& grad_q,
                              Begin begin) {
  constexpr int kKeys = C::kKeys;
  const int lane = thread_index() % kWarpgroup;
  const int row = uniform(thread_index() / kWarpgroup - 1) * kTileRows;
  const int tiles = tiles_of(unit.seen, kKeys);
  const float scale = p.shape.scale * kLog2E;
  const FrameMask& mask = p.shape.mask;
  Accumulator<kKeys> s, grad_p;
  FragmentA grad_s[C::kSteps];
  PRAXINO_UNROLL
  for (int step = 0; step < C::kSteps; ++step) grad_s[step] = {};
  clear(grad_q);
  int last = 0;
  if (C::kResultsFirst || tiles == 0) begin();
  PRAXINO_NO_UNROLL
  for (int index = 0; index < tiles; ++index) {
    const Range keys = tile_of(unit.seen, index, kKeys);
    const int stage = at.stage;
    wait(shared.full + stage, at.parity);
    at.advance();
    fence_products(s, grad_p);
    multiply_rows<C::kWidth>(s, shared.q(set), C::kQueries, row, shared.k(stage));
    commit_products();
    if constexpr (C::kTight) {
      wait_products<1>(grad_q, grad_s);  // of the tile before
      if (index > 0) release(shared.empty + last);
      fence_products(grad_p);
    }
    multiply_rows<C::kWidth>(grad_p, shared.grad(set), C::kQueries, row, shared.v(stage));
    commit_products();
    if constexpr (!C::kTight) {
      wait_products<2>(grad_q, grad_s);
      if (index > 0) release(shared.empty + last);
    }
    if (!C::kResultsFirst && index == 0) begin();
    wait_products<1>(s);
    if (keys.size() < kKeys || !seen_by_all.covers(keys)) hide(s, mask, rows.first, keys, lane);
    PRAXINO_UNROLL
    for (int i = 0; i < kKeys / 2; ++i) s.v[i] = exp2_fast(s.v[i] * scale - rows.lse[i / 2 % 2]);
    wait_products<0>(grad_p);
    PRAXINO_UNROLL
    for (int i = 0; i < kKeys / 2; ++i) s.v[i] *= grad_p.v[i] - rows.delta[i / 2 % 2];
    PRAXINO_UNROLL
    for (int step = 0; step < C::kSteps; ++step) grad_s[step] = as_operand(s, step);
    fence_products(grad_q, grad_s);
    add_product<C::kWidth, C::kSteps>(grad_q, grad_s, shared.k(stage));
    commit_products();
    last = stage;
  }
  wait_products<0>(grad_q, grad_s);
  if (tiles > 0) release(shared.empty + last);
}

template <class C>
PRAXINO_DEVICE void work(const Backward& p, const Shared<C>& shared) {
  const int worker = uniform(thread_index() / kWarpgroup - 1);
  const int lane = thread_index() % kWarpgroup;
  const float factor[2] = {p.shape.scale, p.shape.scale};
  RingPlace<C::kSets> set;
  RingPlace<C::kRing> at;
  Accumulator<C::kWidth> grad_q;
  // Of the set that is being stored from: given back when the next unit has begun.
  Barrier* stored = nullptr;
  PRAXINO_NO_UNROLL
  while (true) {
    wait(shared.rows_full + set.stage, set.parity);
    const Unit next = get(shared.units + set.stage);
    if (next.ends != 0) break;
    const QueryTile& unit = next.tile;
    const Ranges seen_by_all = get(shared.seen_by + set.stage * C::kWorkers + worker);
    Rows rows;
    rows.first = unit.queries.begin + worker * kTileRows;
    load_sums(p, unit, rows, lane);
    const auto begin = [&] {
      if (lane == 0 && stored != nullptr) {
        wait_stores_read<0>();
        arrive(stored);
      }
      wait(shared.full + at.stage, at.parity);
      find_deltas<C>(p, unit, rows, shared.k(at.stage), shared.grad(set.stage), lane);
      release(shared.empty + at.stage);
      at.advance();
      PRAXINO_UNROLL
      for (float& lse : rows.lse) lse = lse == kMinusInfinity ? -kMinusInfinity : lse * kLog2E;
    };
    add_tiles<C>(p, shared, unit, seen_by_all, rows, set.stage, at, grad_q, begin);
    begin_store_rows(grad_q, factor, shared.q(set.stage), C::kQueries, p.grad_q, unit.queries.begin,
                     unit.head, unit.batch);
    stored = shared.rows_empty + set.stage;
    if (C::kSets == 1 && lane == 0) {  // the next unit cannot begin before
      wait_stores_read<0>();
      arrive(stored);
    }
    if (C::kSets == 1) stored = nullptr;
    set.advance();
  }
  if (lane == 0) wait_stores_read<0>();
}

template <class C>
PRAXINO_KERNEL(C::kThreads, 1)
frame_attention_hopper_queries_kernel(PRAXINO_PARAMETERS Backward p) {
#if PRAXINO_HAS_WARPGROUPS
  const Shared<C> shared;
  const auto init = [&] {
    init_ring(C::kSets, shared.rows_full, 1, shared.rows_empty, C::kWorkers);
    init_ring(C::kRing, shared.full, 1, shared.empty, 4 * C::kWorkers);
  };
  take_roles<kLoaderRegisters, C::kRegisters>(
      init, [&] { load_all<C>(p, shared); }, [&] { work<C>(p, shared); });
#else
  __trap();
#endif
}

template <class C>
Status launch_cut(const FrameAttentionBackward& p, Stream stream) {
  const AttentionShape& s = p.shape;
  const TileOrder order = queries_order(s, C::kQueries);
  if (order.blocks() == 0) return {};
  if (order.blocks() > INT32_MAX) return kRefused;
  Backward b{.q = {},
             .grad = {},
             .k = {},
             .v = {},
             .out = {},
             .grad_q = {},
             .lse = p.lse,
             .delta = p.delta,
             .walk = walk_of(order, s.mask),
             .shape = s};
  const FrameMask& m = s.mask;
  const Status made[] = {
      make_head_map(b.q, p.q.data, p.q.strides, s, m.queries, s.heads, C::kQueries),
      make_head_map(b.grad, p.grad.data, p.grad.strides, s, m.queries, s.heads, C::kQueries),
      make_head_map(b.k, p.k.data, p.k.strides, s, m.keys, s.key_heads, C::kKeys),
      make_head_map(b.v, p.v.data, p.v.strides, s, m.keys, s.key_heads, C::kKeys),
      make_head_map(b.out, p.out.data, p.out.strides, s, m.queries, s.heads, C::kQueries),
      make_head_map(b.grad_q, p.grad_q.data, p.grad_q.strides, s, m.queries, s.heads, kTileRows)};
  for (const Status& status : made) {
    if (!status.ok()) return status;
  }
  return launch(frame_attention_hopper_queries_kernel<C>,
                {"frame_attention_hopper_queries", b.walk.rounds.blocks, C::kThreads, C::kBytes}, b,
                stream);
}

}  // namespace

Status launch_frame_attention_hopper_queries(const FrameAttentionBackward& p, Stream stream) {
  if (p.shape.width == 64) return launch_cut<Cut<64, 2, 240, 128, 2, 3>>(p, stream);
  // Products of 128 keys read queries half as often from shared memory, but leave room for one set:
  // for blocks that have but one tile.
  return equally_long(p.shape.mask) ? launch_cut<Cut<128, 2, 240, 64, 2, 3>>(p, stream)
                                    : launch_cut<Cut<128, 2, 240, 128, 1, 2>>(p, stream);
}

}  // namespace praxino::kernels
