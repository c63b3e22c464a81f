#include "kernels/frame_attention_hopper.cuh"
#include "kernels/frame_attention_hopper.h"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kQueries = 64;  // of a tile
constexpr int kQuerySteps = kQueries / kTileDepth;

struct Backward {
  TileMap k, v, q, grad, grad_k, grad_v;
  const float* lse;
  const float* delta;
  AttentionShape shape;
};

template <int kWidth>
struct Shared {
  static constexpr int kRows = tile_bytes(kWorkerRows, kWidth);
  static constexpr int kTile = tile_bytes(kQueries, kWidth);
  char* k;
  char* v;
  char* q;
  char* grad;
  float* lse;    // of two stages, to base 2; infinity where all weights are 0
  float* delta;  // of two stages
  Barrier* rows_full;
  Barrier* full;
  Barrier* empty;
  PRAXINO_DEVICE Shared() {
    k = reinterpret_cast<char*>(shared_floats());
    v = k + kRows;
    q = v + kRows;
    grad = q + kStages * kTile;
    lse = reinterpret_cast<float*>(grad + kStages * kTile);
    delta = lse + kStages * kQueries;
    rows_full = reinterpret_cast<Barrier*>(delta + kStages * kQueries);
    full = rows_full + 1;
    empty = full + kStages;
  }
  static constexpr size_t kBytes = size_t{2 * kRows} + size_t{2 * kStages * kTile} +
                                   sizeof(float) * 2 * kStages * kQueries +
                                   sizeof(Barrier) * (1 + 2 * kStages);
};

// What a block works on: a tile of keys, and all queries of the heads that share them.
struct KeyTile {
  int batch, key_head, heads, tiles;  // `tiles` of queries of each head
  Range keys;
  Range queries;
};

PRAXINO_DEVICE KeyTile key_tile(const AttentionShape& shape) {
  const TileOrder::Unit unit = keys_order(shape, kWorkerRows).unit(block_index());
  const int key_heads = static_cast<int>(shape.key_heads), problem = static_cast<int>(unit.problem);
  const int first = static_cast<int>(unit.tile) * kWorkerRows;
  const Range keys{first, smaller(first + kWorkerRows, shape.mask.keys)};
  const Range queries = shape.mask.queries_of(keys);
  return {problem / key_heads,
          problem % key_heads,
          static_cast<int>(shape.shared_by()),
          tiles_of(queries.size(), kQueries),
          keys,
          queries};
}

// One warp: its first lane begins the copies, all copy sums and deltas, a few rows each.
template <int kWidth>
PRAXINO_DEVICE void load_all(const Backward& p, const Shared<kWidth>& shared, const KeyTile& at) {
  if (warp_index() != 0) return;
  constexpr int kTile = Shared<kWidth>::kTile;
  const int lane = lane_index(), queries = p.shape.mask.queries;
  if (lane == 0) {
    arrive_and_expect(shared.rows_full, 2 * Shared<kWidth>::kRows);
    load_rows<kWidth>(shared.k, p.k, kWorkerRows, at.keys.begin, at.key_head, at.batch,
                      shared.rows_full);
    load_rows<kWidth>(shared.v, p.v, kWorkerRows, at.keys.begin, at.key_head, at.batch,
                      shared.rows_full);
  }
  for (int index = 0; index < at.heads * at.tiles; ++index) {
    const int stage = index % kStages, head = at.key_head * at.heads + index / at.tiles;
    const int token = at.queries.begin + index % at.tiles * kQueries;
    const int64_t row = (int64_t{at.batch} * p.shape.heads + head) * queries;
    Barrier* full = shared.full + stage;
    wait(shared.empty + stage, parity_of(index) ^ 1U);
    if (lane == 0) {
      arrive_and_expect(full, 2 * kTile);
      load_rows<kWidth>(shared.q + stage * kTile, p.q, kQueries, token, head, at.batch, full);
      load_rows<kWidth>(shared.grad + stage * kTile, p.grad, kQueries, token, head, at.batch, full);
    }
    for (int i = lane; i < kQueries; i += kWarp) {
      const bool there = token + i < queries;
      const float lse = there ? load(p.lse + row + token + i) : kMinusInfinity;
      const float delta = there ? load(p.delta + row + token + i) : 0.0F;
      store(shared.lse + stage * kQueries + i,
            lse == kMinusInfinity ? -kMinusInfinity : lse * kLog2E);
      store(shared.delta + stage * kQueries + i, delta);
    }
    arrive(full);
  }
}

// Scores have keys as rows: two of each thread, with the queries that see them.
PRAXINO_DEVICE void hide(Accumulator<kQueries>& s, const Range (&seeing)[2], const Range& queries,
                         int lane) {
  PRAXINO_UNROLL
  for (int i = 0; i < kQueries / 2; ++i) {
    const int query = queries.begin + warpgroup_d(lane, i).column;
    if (query >= queries.end || !seeing[i / 2 % 2].has(query)) s.v[i] = kMinusInfinity;
  }
}

// Weights, then gradients of scores, as operands.
using Operands = FragmentA[2 * kQuerySteps];

// Of one stage: s and grad_p as they come from the products become operands.
PRAXINO_DEVICE void weigh(Accumulator<kQueries>& s, const float* lse, float scale, int lane) {
  PRAXINO_UNROLL
  for (int i = 0; i < kQueries / 2; ++i)
    s.v[i] = exp2_fast(s.v[i] * scale - load(lse + warpgroup_d(lane, i).column));
}

PRAXINO_DEVICE void to_operands(Operands& operands, Accumulator<kQueries>& s,
                                const Accumulator<kQueries>& grad_p, const float* delta, int lane) {
  PRAXINO_UNROLL
  for (int step = 0; step < kQuerySteps; ++step) operands[step] = as_operand(s, step);
  PRAXINO_UNROLL
  for (int i = 0; i < kQueries / 2; ++i)
    s.v[i] *= grad_p.v[i] - load(delta + warpgroup_d(lane, i).column);
  PRAXINO_UNROLL
  for (int step = 0; step < kQuerySteps; ++step) operands[kQuerySteps + step] = as_operand(s, step);
}

// While one warpgroup makes weights the other multiplies. Scores of the next tile are not begun
// while gradients of this one are added: nvcc 13.0 would make all products wait for each other
// (C7515).
template <int kWidth>
PRAXINO_DEVICE void work(const Backward& p, const Shared<kWidth>& shared, const KeyTile& at) {
  constexpr int kTile = Shared<kWidth>::kTile;
  const int worker = thread_index() / kWarpgroup - 1, lane = thread_index() % kWarpgroup;
  const int row = worker * kTileRows;
  const float scale = p.shape.scale * kLog2E;
  const FrameMask& mask = p.shape.mask;
  const Range own{at.keys.begin + row, smaller(at.keys.begin + row + kTileRows, mask.keys)};
  Range seeing[2];
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int key = own.begin + warpgroup_d(lane, 2 * half).row;
    seeing[half] = mask.queries_of({key, key + 1});
  }
  Accumulator<kWidth> grad_k, grad_v;
  clear(grad_k);
  clear(grad_v);
  Accumulator<kQueries> s, grad_p;
  Operands operands = {};

  wait(shared.rows_full, 0);
  PRAXINO_NO_UNROLL
  for (int index = 0; index < at.heads * at.tiles; ++index) {
    const int stage = index % kStages;
    const Range queries = tile_of(at.queries, index % at.tiles, kQueries);
    wait(shared.full + stage, parity_of(index));
    fence_products(s, grad_p);
    multiply_rows<kWidth>(s, shared.k, kWorkerRows, row, shared.q + stage * kTile);
    commit_products();
    multiply_rows<kWidth>(grad_p, shared.v, kWorkerRows, row, shared.grad + stage * kTile);
    commit_products();
    wait_products<1>(s);
    if (queries.size() < kQueries || !mask.full(queries, own)) hide(s, seeing, queries, lane);
    weigh(s, shared.lse + stage * kQueries, scale, lane);
    wait_products<0>(grad_p);
    to_operands(operands, s, grad_p, shared.delta + stage * kQueries, lane);
    fence_products(grad_k, grad_v, operands);
    add_product<kWidth, kQuerySteps>(grad_v, operands, shared.grad + stage * kTile);
    add_product<kWidth, kQuerySteps>(grad_k, operands + kQuerySteps, shared.q + stage * kTile);
    commit_products();
    wait_products<0>(grad_k, grad_v, operands);
    release(shared.empty + stage);
  }
  const float factor[2] = {p.shape.scale, p.shape.scale}, one[2] = {1, 1};
  store_rows(grad_k, factor, shared.k, kWorkerRows, p.grad_k, at.keys.begin, at.key_head, at.batch);
  store_rows(grad_v, one, shared.v, kWorkerRows, p.grad_v, at.keys.begin, at.key_head, at.batch);
}

template <int kWidth>
PRAXINO_KERNEL(kHopperThreads, 1)
frame_attention_hopper_keys_kernel(PRAXINO_PARAMETERS Backward p) {
#if PRAXINO_HAS_WARPGROUPS
  const Shared<kWidth> shared;
  const KeyTile at = key_tile(p.shape);
  const auto init = [&] {
    init_barrier(shared.rows_full, 1);
    init_ring(shared.full, 1 + kWarp, shared.empty);
  };
  take_roles(
      init, [&] { load_all<kWidth>(p, shared, at); }, [&] { work<kWidth>(p, shared, at); });
#else
  __trap();
#endif
}

template <int kWidth>
Status launch_width(const FrameAttentionBackward& p, Stream stream) {
  const AttentionShape& s = p.shape;
  const int64_t blocks = keys_order(s, kWorkerRows).blocks();
  if (blocks == 0) return {};
  if (blocks > INT32_MAX) return kRefused;
  Backward b{.k = {},
             .v = {},
             .q = {},
             .grad = {},
             .grad_k = {},
             .grad_v = {},
             .lse = p.lse,
             .delta = p.delta,
             .shape = s};
  const FrameMask& m = s.mask;
  const Status made[] = {
      make_head_map(b.k, p.k.data, p.k.strides, s, m.keys, s.key_heads, kWorkerRows),
      make_head_map(b.v, p.v.data, p.v.strides, s, m.keys, s.key_heads, kWorkerRows),
      make_head_map(b.q, p.q.data, p.q.strides, s, m.queries, s.heads, kQueries),
      make_head_map(b.grad, p.grad.data, p.grad.strides, s, m.queries, s.heads, kQueries),
      make_head_map(b.grad_k, p.grad_k.data, p.grad_k.strides, s, m.keys, s.key_heads, kTileRows),
      make_head_map(b.grad_v, p.grad_v.data, p.grad_v.strides, s, m.keys, s.key_heads, kTileRows)};
  for (const Status& status : made) {
    if (!status.ok()) return status;
  }
  return launch(frame_attention_hopper_keys_kernel<kWidth>,
                {"frame_attention_hopper_keys", blocks, kHopperThreads, Shared<kWidth>::kBytes}, b,
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
  return s.width == 64 ? launch_width<64>(p, stream) : launch_width<128>(p, stream);
}

}  // namespace praxino::kernels
