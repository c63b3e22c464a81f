#include "kernels/frame_attention_hopper.cuh"
#include "kernels/frame_attention_hopper.h"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kKeys = 64;  // of a tile
constexpr int kKeySteps = kKeys / kTileDepth;

struct Backward {
  TileMap q, grad, k, v, grad_q;
  HeadsIn out, grad_rows;
  const float* lse;
  float* delta;
  AttentionShape shape;
};

template <int kWidth>
struct Shared {
  static constexpr int kRows = tile_bytes(kWorkerRows, kWidth);
  static constexpr int kTile = tile_bytes(kKeys, kWidth);
  char* q;
  char* grad;
  char* k;
  char* v;
  Barrier* rows_full;
  Barrier* full;
  Barrier* empty;
  PRAXINO_DEVICE Shared() {
    q = reinterpret_cast<char*>(shared_floats());
    grad = q + kRows;
    k = grad + kRows;
    v = k + kStages * kTile;
    rows_full = reinterpret_cast<Barrier*>(v + kStages * kTile);
    full = rows_full + 1;
    empty = full + kStages;
  }
  static constexpr size_t kBytes =
      size_t{2 * kRows} + size_t{2 * kStages * kTile} + sizeof(Barrier) * (1 + 2 * kStages);
};

template <int kWidth>
PRAXINO_DEVICE void load_all(const Backward& p, const Shared<kWidth>& shared,
                             const QueryTile& unit) {
  if (thread_index() != 0) return;
  constexpr int kTile = Shared<kWidth>::kTile;
  arrive_and_expect(shared.rows_full, 2 * Shared<kWidth>::kRows);
  load_rows<kWidth>(shared.q, p.q, kWorkerRows, unit.queries.begin, unit.head, unit.batch,
                    shared.rows_full);
  load_rows<kWidth>(shared.grad, p.grad, kWorkerRows, unit.queries.begin, unit.head, unit.batch,
                    shared.rows_full);
  const int tiles = tiles_of(unit.seen, kKeys);
  for (int index = 0; index < tiles; ++index) {
    const int stage = index % kStages, token = tile_of(unit.seen, index, kKeys).begin;
    Barrier* full = shared.full + stage;
    wait(shared.empty + stage, parity_of(index) ^ 1U);
    arrive_and_expect(full, 2 * kTile);
    load_rows<kWidth>(shared.k + stage * kTile, p.k, kKeys, token, unit.key_head, unit.batch, full);
    load_rows<kWidth>(shared.v + stage * kTile, p.v, kKeys, token, unit.key_head, unit.batch, full);
  }
}

// Of the two rows of which a thread has a part.
struct Rows {
  Ranges seen[2];
  float lse[2];    // to base 2; infinity for a row that sees nothing, or is none
  float delta[2];  // the sum of grad * out
};

template <int kWidth>
PRAXINO_DEVICE float delta_of(const Backward& p, const QueryTile& unit, int query) {
  const bool there = query < p.shape.mask.queries;
  float sum = 0;
  if (there) {
    const Bf16* out =
        p.out.data + p.out.strides.at(unit.batch, unit.head) + query * p.out.strides.token;
    const Bf16* grad = p.grad_rows.data + p.grad_rows.strides.at(unit.batch, unit.head) +
                       query * p.grad_rows.strides.token;
    for (int i = thread_index() % 4 * 8; i < kWidth; i += 32) {
      const Vector<8> o = load_vector<8>(out + i), g = load_vector<8>(grad + i);
      PRAXINO_UNROLL
      for (int j = 0; j < 8; ++j) sum += o.v[j] * g.v[j];
    }
  }
  return group_sum(sum, 4);
}

template <int kWidth>
PRAXINO_DEVICE Rows rows_of(const Backward& p, const QueryTile& unit, int first, int lane) {
  const FrameMask& mask = p.shape.mask;
  const int64_t row = int64_t{unit.problem} * mask.queries;
  Rows rows;
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    const FragmentSpot spot = warpgroup_d(lane, 2 * half);
    const int query = first + spot.row;
    rows.seen[half] = mask.keys_of({query, query + 1});
    rows.delta[half] = delta_of<kWidth>(p, unit, query);
    const bool there = query < mask.queries;
    const float lse = there ? load(p.lse + row + query) : kMinusInfinity;
    rows.lse[half] = lse == kMinusInfinity ? -kMinusInfinity : lse * kLog2E;
    if (there && spot.column == 0) store(p.delta + row + query, rows.delta[half]);
  }
  return rows;
}

PRAXINO_DEVICE void hide(Accumulator<kKeys>& s, const Rows& rows, const Range& keys, int lane) {
  PRAXINO_UNROLL
  for (int i = 0; i < kKeys / 2; ++i) {
    const int key = keys.begin + warpgroup_d(lane, i).column;
    if (key >= keys.end || !rows.seen[i / 2 % 2].has(key)) s.v[i] = kMinusInfinity;
  }
}

// Scores of the next tile of keys are under way while the gradient of this one is added.
template <int kWidth>
PRAXINO_DEVICE void work(const Backward& p, const Shared<kWidth>& shared, const QueryTile& unit) {
  constexpr int kTile = Shared<kWidth>::kTile;
  const int worker = thread_index() / kWarpgroup - 1, lane = thread_index() % kWarpgroup;
  const int row = worker * kTileRows, tiles = tiles_of(unit.seen, kKeys);
  const float scale = p.shape.scale * kLog2E;
  const FrameMask& mask = p.shape.mask;
  const Range own{unit.queries.begin + row,
                  smaller(unit.queries.begin + row + kTileRows, mask.queries)};
  const Rows rows = rows_of<kWidth>(p, unit, own.begin, lane);
  Accumulator<kWidth> grad_q;
  clear(grad_q);
  Accumulator<kKeys> s, grad_p;
  FragmentA grad_s[kKeySteps];
  PRAXINO_UNROLL
  for (int step = 0; step < kKeySteps; ++step) grad_s[step] = {};

  wait(shared.rows_full, 0);
  PRAXINO_NO_UNROLL
  for (int index = 0; index < tiles; ++index) {
    const int stage = index % kStages, last = (index + 1) % kStages;
    const Range keys = tile_of(unit.seen, index, kKeys);
    wait(shared.full + stage, parity_of(index));
    fence_products(s, grad_p);
    multiply_rows<kWidth>(s, shared.q, kWorkerRows, row, shared.k + stage * kTile);
    commit_products();
    multiply_rows<kWidth>(grad_p, shared.grad, kWorkerRows, row, shared.v + stage * kTile);
    commit_products();
    wait_products<2>(grad_q, grad_s);  // of the tile before
    if (index > 0) release(shared.empty + last);
    wait_products<1>(s);
    if (keys.size() < kKeys || !mask.full(own, keys)) hide(s, rows, keys, lane);
    PRAXINO_UNROLL
    for (int i = 0; i < kKeys / 2; ++i) s.v[i] = exp2_fast(s.v[i] * scale - rows.lse[i / 2 % 2]);
    wait_products<0>(grad_p);
    PRAXINO_UNROLL
    for (int i = 0; i < kKeys / 2; ++i) s.v[i] *= grad_p.v[i] - rows.delta[i / 2 % 2];
    PRAXINO_UNROLL
    for (int step = 0; step < kKeySteps; ++step) grad_s[step] = as_operand(s, step);
    fence_products(grad_q, grad_s);
    add_product<kWidth, kKeySteps>(grad_q, grad_s, shared.k + stage * kTile);
    commit_products();
  }
  wait_products<0>(grad_q, grad_s);
  const float factor[2] = {p.shape.scale, p.shape.scale};
  store_rows(grad_q, factor, shared.q, kWorkerRows, p.grad_q, unit.queries.begin, unit.head,
             unit.batch);
}

template <int kWidth>
PRAXINO_KERNEL(kHopperThreads, 1)
frame_attention_hopper_queries_kernel(PRAXINO_PARAMETERS Backward p) {
#if PRAXINO_HAS_WARPGROUPS
  const Shared<kWidth> shared;
  const QueryTile unit = query_tile<kWorkerRows>(p.shape);
  const auto init = [&] {
    init_barrier(shared.rows_full, 1);
    init_ring(shared.full, 1, shared.empty);
  };
  take_roles(
      init, [&] { load_all<kWidth>(p, shared, unit); }, [&] { work<kWidth>(p, shared, unit); });
#else
  __trap();
#endif
}

template <int kWidth>
Status launch_width(const FrameAttentionBackward& p, Stream stream) {
  const AttentionShape& s = p.shape;
  const int64_t blocks = queries_order(s, kWorkerRows).blocks();
  if (blocks == 0) return {};
  if (blocks > INT32_MAX) return kRefused;
  Backward b{.q = {},
             .grad = {},
             .k = {},
             .v = {},
             .grad_q = {},
             .out = p.out,
             .grad_rows = p.grad,
             .lse = p.lse,
             .delta = p.delta,
             .shape = s};
  const Status made[] = {
      make_head_map(b.q, p.q.data, p.q.strides, s, s.mask.queries, s.heads, kWorkerRows),
      make_head_map(b.grad, p.grad.data, p.grad.strides, s, s.mask.queries, s.heads, kWorkerRows),
      make_head_map(b.k, p.k.data, p.k.strides, s, s.mask.keys, s.key_heads, kKeys),
      make_head_map(b.v, p.v.data, p.v.strides, s, s.mask.keys, s.key_heads, kKeys),
      make_head_map(b.grad_q, p.grad_q.data, p.grad_q.strides, s, s.mask.queries, s.heads,
                    kTileRows)};
  for (const Status& status : made) {
    if (!status.ok()) return status;
  }
  return launch(frame_attention_hopper_queries_kernel<kWidth>,
                {"frame_attention_hopper_queries", blocks, kHopperThreads, Shared<kWidth>::kBytes},
                b, stream);
}

}  // namespace

Status launch_frame_attention_hopper_queries(const FrameAttentionBackward& p, Stream stream) {
  return p.shape.width == 64 ? launch_width<64>(p, stream) : launch_width<128>(p, stream);
}

}  // namespace praxino::kernels
