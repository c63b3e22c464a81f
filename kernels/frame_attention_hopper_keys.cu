#include "kernels/frame_attention_hopper.h"
#include "kernels/frame_attention_hopper_backward.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kQueries = 64;  // of a tile
constexpr int kQuerySteps = kQueries / kTileDepth;
// Sets of the block's own keys and values: the next unit's are there when this one's are done.
constexpr int kSets = 2;

struct Backward {
  TileMap k, v, q, grad, grad_k, grad_v;
  const float* lse;
  const float* delta;
  Walk walk;
  AttentionShape shape;
};

// What a block works on: a tile of keys, and all queries of the heads that share them.
struct KeyTile {
  int batch, key_head, heads, tiles;  // `tiles` of queries of each head
  Range keys;
  Range queries;
};

// Of a set of keys and values.
struct alignas(16) Unit {
  KeyTile tile;
  int ends;  // 1: there are no more
};
// Queries that see all keys of a warpgroup.
struct alignas(16) SeeingAll {
  Range queries;
};

// How the kernel is cut: warpgroups that compute, and their registers; a ring of kOfStages tiles of
// queries and gradients of results.
template <int kOfWidth, int kOfWorkers, int kOfRegisters, int kOfStages>
struct Cut {
  static constexpr int kWidth = kOfWidth, kRing = kOfStages;
  static constexpr int kWorkers = kOfWorkers, kRegisters = kOfRegisters;
  static constexpr int kKeys = kWorkers * kTileRows;
  static constexpr int kThreads = kLoaders + kWorkers * kWarpgroup;
  // What the block begins with, which is what it can hand over.
  static constexpr int kBegins = 65536 / kThreads / 8 * 8;
  static_assert(kLoaderRegisters + kWorkers * kRegisters <= kBegins * (kWorkers + 1));
  static constexpr int kRows = tile_bytes(kKeys, kWidth);
  static constexpr int kTile = tile_bytes(kQueries, kWidth);
  // Scores of the next tile are begun before the gradient of keys has been added: where there are
  // registers for both. Three warpgroups multiply in turn without that.
  static constexpr bool kAhead = kWidth + kQueries + kQueries / 4 + 24 <= kRegisters;
  static constexpr size_t kBytes =
      size_t{2 * kSets * kRows} + size_t{2 * kRing * kTile} + sizeof(float) * 2 * kRing * kQueries +
      (sizeof(Slot<Unit>) + sizeof(Slot<SeeingAll>) * kWorkers) * kSets +
      sizeof(Barrier) * 2 * (kSets + kRing);
};

template <class C>
struct Shared {
  char* rows;               // of each set: keys, then values
  char* tiles;              // of each stage: queries, then gradients of results
  float* lse;               // of each stage, to base 2; infinity where all weights are 0
  float* delta;             // of each stage
  Slot<Unit>* units;        // of each set
  Slot<SeeingAll>* seeing;  // of each warpgroup of each set
  Barrier* rows_full;
  Barrier* rows_empty;
  Barrier* full;
  Barrier* empty;
  PRAXINO_DEVICE Shared() {
    rows = reinterpret_cast<char*>(shared_floats());
    tiles = rows + 2 * kSets * C::kRows;
    lse = reinterpret_cast<float*>(tiles + 2 * C::kRing * C::kTile);
    delta = lse + C::kRing * kQueries;
    units = reinterpret_cast<Slot<Unit>*>(delta + C::kRing * kQueries);
    seeing = reinterpret_cast<Slot<SeeingAll>*>(units + kSets);
    rows_full = reinterpret_cast<Barrier*>(seeing + kSets * C::kWorkers);
    rows_empty = rows_full + kSets;
    full = rows_empty + kSets;
    empty = full + C::kRing;
  }
  PRAXINO_DEVICE char* k(int set) const { return rows + 2 * set * C::kRows; }
  PRAXINO_DEVICE char* v(int set) const { return k(set) + C::kRows; }
  PRAXINO_DEVICE char* q(int stage) const { return tiles + 2 * stage * C::kTile; }
  PRAXINO_DEVICE char* grad(int stage) const { return q(stage) + C::kTile; }
};

template <class C>
PRAXINO_DEVICE KeyTile key_tile(const AttentionShape& shape, const TileOrder::Unit& unit) {
  const int key_heads = static_cast<int>(shape.key_heads), problem = static_cast<int>(unit.problem);
  const int first = static_cast<int>(unit.tile) * C::kKeys;
  const Range keys{first, smaller(first + C::kKeys, shape.mask.keys)};
  const Range queries = shape.mask.queries_of(keys);
  return {problem / key_heads,
          problem % key_heads,
          static_cast<int>(shape.heads) / key_heads,
          tiles_of(queries.size(), kQueries),
          keys,
          queries};
}

// What a lane brings of a tile's sums and deltas: read while the stage is still in use.
struct Sums {
  static constexpr int kOfLane = kQueries / kWarp;
  float lse[kOfLane], delta[kOfLane];
};

PRAXINO_DEVICE Sums read_sums(const Backward& p, int64_t row, int token) {
  Sums sums;
  PRAXINO_UNROLL
  for (int i = 0; i < Sums::kOfLane; ++i) {
    const int query = token + i * kWarp + lane_index();
    const bool there = query < p.shape.mask.queries;
    sums.lse[i] = there ? load(p.lse + row + query) : kMinusInfinity;
    sums.delta[i] = there ? load(p.delta + row + query) : 0.0F;
  }
  return sums;
}

PRAXINO_DEVICE void keep_sums(const Sums& sums, float* lse, float* delta) {
  PRAXINO_UNROLL
  for (int i = 0; i < Sums::kOfLane; ++i) {
    const int at = i * kWarp + lane_index();
    store(lse + at, sums.lse[i] == kMinusInfinity ? -kMinusInfinity : sums.lse[i] * kLog2E);
    store(delta + at, sums.delta[i]);
  }
}

// One warp: its first lane begins the copies, all copy sums and deltas.
template <class C>
PRAXINO_DEVICE void load_all(const Backward& p, const Shared<C>& shared) {
  if (warp_index() != 0) return;
  constexpr int kWidth = C::kWidth, kTile = C::kTile;
  const bool first_lane = lane_index() == 0;
  RingPlace<kSets> set;
  RingPlace<C::kRing> at;
  walk_tiles(p.walk, [&](const TileOrder::Unit& number) {
    const KeyTile unit = key_tile<C>(p.shape, number);
    wait(shared.rows_empty + set.stage, set.parity ^ 1U);
    if (first_lane) {
      put(shared.units + set.stage, {unit, 0});
      for (int worker = 0; worker < C::kWorkers; ++worker) {
        const int first = unit.keys.begin + worker * kTileRows;
        const Range own{first, smaller(first + kTileRows, p.shape.mask.keys)};
        put(shared.seeing + set.stage * C::kWorkers + worker, {p.shape.mask.queries_of_all(own)});
      }
      Barrier* full = shared.rows_full + set.stage;
      arrive_and_expect(full, 2 * C::kRows);
      load_rows<kWidth>(shared.k(set.stage), p.k, C::kKeys, unit.keys.begin, unit.key_head,
                        unit.batch, full);
      load_rows<kWidth>(shared.v(set.stage), p.v, C::kKeys, unit.keys.begin, unit.key_head,
                        unit.batch, full);
    }
    set.advance();
    int head = unit.key_head * unit.heads, token = unit.queries.begin;
    for (int left = unit.heads * unit.tiles; left > 0; --left) {
      const int64_t row = (int64_t{unit.batch} * p.shape.heads + head) * p.shape.mask.queries;
      Barrier* full = shared.full + at.stage;
      const Sums sums = read_sums(p, row, token);
      wait(shared.empty + at.stage, at.parity ^ 1U);
      if (first_lane) {
        arrive_and_expect(full, 2 * kTile);
        load_rows<kWidth>(shared.q(at.stage), p.q, kQueries, token, head, unit.batch, full);
        load_rows<kWidth>(shared.grad(at.stage), p.grad, kQueries, token, head, unit.batch, full);
      }
      keep_sums(sums, shared.lse + at.stage * kQueries, shared.delta + at.stage * kQueries);
      arrive(full);
      at.advance();
      token += kQueries;
      if (token >= unit.queries.end) {
        token = unit.queries.begin;
        ++head;
      }
    }
  });
  wait(shared.rows_empty + set.stage, set.parity ^ 1U);
  if (first_lane) {
    put(shared.units + set.stage, {{}, 1});
    arrive(shared.rows_full + set.stage);
  }
}

// Scores have keys as rows, from `first` on, and queries as columns.
PRAXINO_DEVICE void hide(Accumulator<kQueries>& s, const FrameMask& mask, int first,
                         const Range& queries, int lane) {
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int key = first + warpgroup_d(lane, 2 * half).row;
    hide_row(s, half, {{}, mask.queries_of({key, key + 1})}, queries, lane);
  }
}

// Of one stage: s and grad_p as they come from the products become operands.
PRAXINO_DEVICE void weigh(Accumulator<kQueries>& s, const float* lse, float scale, int lane) {
  PRAXINO_UNROLL
  for (int i = 0; i < kQueries / 2; i += 4) {
    const Vector<2> base = load_pair(lse + warpgroup_d(lane, i).column);
    PRAXINO_UNROLL
    for (int j = 0; j < 4; ++j) s.v[i + j] = exp2_fast(s.v[i + j] * scale - base.v[j % 2]);
  }
}

PRAXINO_DEVICE void to_gradient(Accumulator<kQueries>& s, const Accumulator<kQueries>& grad_p,
                                const float* delta, int lane) {
  PRAXINO_UNROLL
  for (int i = 0; i < kQueries / 2; i += 4) {
    const Vector<2> less = load_pair(delta + warpgroup_d(lane, i).column);
    PRAXINO_UNROLL
    for (int j = 0; j < 4; ++j) s.v[i + j] *= grad_p.v[i + j] - less.v[j % 2];
  }
}

using Operand = FragmentA[kQuerySteps];

PRAXINO_DEVICE void to_operand(Operand& operand, const Accumulator<kQueries>& s) {
  PRAXINO_UNROLL
  for (int step = 0; step < kQuerySteps; ++step) operand[step] = as_operand(s, step);
}

// Of one unit. The gradient of values is added while weights become gradients of scores, and while
// one warpgroup makes weights the other multiplies. begun() is called once, while scores of the
// first tile are multiplied.
template <class C, class Begin>
PRAXINO_DEVICE void add_tiles(const Backward& p, const Shared<C>& shared, const KeyTile& unit,
                              const Range& see_all, int set, RingPlace<C::kRing>& at,
                              Accumulator<C::kWidth>& grad_k, Accumulator<C::kWidth>& grad_v,
                              Begin begun) {
  const int lane = thread_index() % kWarpgroup;
  const int row = uniform(thread_index() / kWarpgroup - 1) * kTileRows;
  const float scale = p.shape.scale * kLog2E;
  const FrameMask& mask = p.shape.mask;
  const int tiles = unit.heads * unit.tiles;
  clear(grad_k);
  clear(grad_v);
  Accumulator<kQueries> s, grad_p;
  Operand weights = {}, grad_s = {};
  int last = 0, begin = unit.queries.begin;
  PRAXINO_NO_UNROLL
  for (int index = 0; index < tiles; ++index) {
    const Range queries{begin, smaller(begin + kQueries, unit.queries.end)};
    begin = queries.end < unit.queries.end ? queries.end : unit.queries.begin;  // of the next head
    wait(shared.full + at.stage, at.parity);
    fence_products(s, grad_p);
    multiply_rows<C::kWidth>(s, shared.k(set), C::kKeys, row, shared.q(at.stage));
    commit_products();
    multiply_rows<C::kWidth>(grad_p, shared.v(set), C::kKeys, row, shared.grad(at.stage));
    commit_products();
    if constexpr (C::kAhead) {
      wait_products<2>(grad_k, grad_s);  // of the tile before
      if (index > 0) release(shared.empty + last);
    }
    if (index == 0) begun();
    wait_products<1>(s);
    if (queries.size() < kQueries || !see_all.covers(queries))
      hide(s, mask, unit.keys.begin + row, queries, lane);
    weigh(s, shared.lse + at.stage * kQueries, scale, lane);
    to_operand(weights, s);
    fence_products(grad_v, weights);
    add_product<C::kWidth, kQuerySteps>(grad_v, weights, shared.grad(at.stage));
    commit_products();
    wait_products<1>(grad_p);
    to_gradient(s, grad_p, shared.delta + at.stage * kQueries, lane);
    to_operand(grad_s, s);
    fence_products(grad_k, grad_s);
    add_product<C::kWidth, kQuerySteps>(grad_k, grad_s, shared.q(at.stage));
    commit_products();
    wait_products<1>(grad_v, weights);
    if constexpr (!C::kAhead) {
      wait_products<0>(grad_k, grad_s);
      release(shared.empty + at.stage);
    }
    last = at.stage;
    at.advance();
  }
  wait_products<0>(grad_k, grad_s);
  if (C::kAhead && tiles > 0) release(shared.empty + last);
}

template <class C>
PRAXINO_DEVICE void work(const Backward& p, const Shared<C>& shared) {
  const float factor[2] = {p.shape.scale, p.shape.scale}, one[2] = {1, 1};
  RingPlace<kSets> set;
  RingPlace<C::kRing> at;
  Accumulator<C::kWidth> grad_k, grad_v;
  const int worker = uniform(thread_index() / kWarpgroup - 1);
  const int lane = thread_index() % kWarpgroup;
  // Of the set that is being stored from: given back when the next unit has begun.
  Barrier* stored = nullptr;
  PRAXINO_NO_UNROLL
  while (true) {
    wait(shared.rows_full + set.stage, set.parity);
    const Unit next = get(shared.units + set.stage);
    if (next.ends != 0) break;
    const KeyTile& unit = next.tile;
    const SeeingAll seeing = get(shared.seeing + set.stage * C::kWorkers + worker);
    const auto begun = [&] {
      if (lane != 0 || stored == nullptr) return;
      wait_stores_read<0>();
      arrive(stored);
    };
    add_tiles<C>(p, shared, unit, seeing.queries, set.stage, at, grad_k, grad_v, begun);
    if (unit.tiles == 0) begun();
    begin_store_rows(grad_k, factor, shared.k(set.stage), C::kKeys, p.grad_k, unit.keys.begin,
                     unit.key_head, unit.batch);
    begin_store_rows(grad_v, one, shared.v(set.stage), C::kKeys, p.grad_v, unit.keys.begin,
                     unit.key_head, unit.batch);
    stored = shared.rows_empty + set.stage;
    set.advance();
  }
  if (lane == 0) wait_stores_read<0>();
}

template <class C>
PRAXINO_KERNEL(C::kThreads, 1)
frame_attention_hopper_keys_kernel(PRAXINO_PARAMETERS Backward p) {
#if PRAXINO_HAS_WARPGROUPS
  const Shared<C> shared;
  const auto init = [&] {
    init_ring(kSets, shared.rows_full, 1, shared.rows_empty, C::kWorkers);
    init_ring(C::kRing, shared.full, 1 + kWarp, shared.empty, 4 * C::kWorkers);
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
  const TileOrder order = keys_order(s, C::kKeys);
  if (order.blocks() == 0) return {};
  if (order.blocks() > INT32_MAX) return kRefused;
  Backward b{.k = {},
             .v = {},
             .q = {},
             .grad = {},
             .grad_k = {},
             .grad_v = {},
             .lse = p.lse,
             .delta = p.delta,
             .walk = walk_of(order, s.mask),
             .shape = s};
  const FrameMask& m = s.mask;
  const Status made[] = {
      make_head_map(b.k, p.k.data, p.k.strides, s, m.keys, s.key_heads, C::kKeys),
      make_head_map(b.v, p.v.data, p.v.strides, s, m.keys, s.key_heads, C::kKeys),
      make_head_map(b.q, p.q.data, p.q.strides, s, m.queries, s.heads, kQueries),
      make_head_map(b.grad, p.grad.data, p.grad.strides, s, m.queries, s.heads, kQueries),
      make_head_map(b.grad_k, p.grad_k.data, p.grad_k.strides, s, m.keys, s.key_heads, kTileRows),
      make_head_map(b.grad_v, p.grad_v.data, p.grad_v.strides, s, m.keys, s.key_heads, kTileRows)};
  for (const Status& status : made) {
    if (!status.ok()) return status;
  }
  return launch(frame_attention_hopper_keys_kernel<C>,
                {"frame_attention_hopper_keys", b.walk.rounds.blocks, C::kThreads, C::kBytes}, b,
                stream);
}

}  // namespace

Status launch_frame_attention_backward_hopper(const FrameAttentionBackward& p, Stream stream) {
  if (!in_range(p.shape) || p.norm.query_gain != nullptr) return kRefused;
  if (!readable(p.q) || !readable(p.k) || !readable(p.v) || !readable(p.out)) return kRefused;
  if (!readable(p.grad) || !readable(p.grad_q) || !readable(p.grad_k) || !readable(p.grad_v))
    return kRefused;
  const AttentionShape& s = p.shape;
  if (s.batch == 0 || s.heads == 0) return {};
  if (s.mask.queries == 0 || s.mask.keys == 0) return kRefused;
  const Status queries = launch_frame_attention_hopper_queries(p, stream);
  if (!queries.ok()) return queries;
  return s.width == 64 ? launch_cut<Cut<64, 2, 240, 4>>(p, stream)
                       : launch_cut<Cut<128, 2, 240, 3>>(p, stream);
}

}  // namespace praxino::kernels
