#include "kernels/frame_attention_hopper.h"

#include "kernels/frame_attention_hopper.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kKeys = 128;  // of a tile

struct Forward {
  TileMap q, k, v, out;
  float* lse;
  AttentionShape shape;
};

// The block's shared memory. Tiles begin at multiples of kSwizzleBytes.
template <int kWidth>
struct Shared {
  static constexpr int kTile = tile_bytes(kKeys, kWidth);
  char* q;
  char* k;
  char* v;
  Barrier* q_full;
  Barrier* k_full;
  Barrier* v_full;
  Barrier* k_empty;
  Barrier* v_empty;
  PRAXINO_DEVICE Shared() {
    q = reinterpret_cast<char*>(shared_floats());
    k = q + tile_bytes(kWorkerRows, kWidth);
    v = k + kStages * kTile;
    q_full = reinterpret_cast<Barrier*>(v + kStages * kTile);
    k_full = q_full + 1;
    v_full = k_full + kStages;
    k_empty = v_full + kStages;
    v_empty = k_empty + kStages;
  }
  static constexpr int kBarriers = 1 + 4 * kStages;
  static constexpr size_t kBytes = size_t{tile_bytes(kWorkerRows, kWidth)} +
                                   size_t{2 * kStages * kTile} + sizeof(Barrier) * kBarriers;
};

template <int kWidth>
PRAXINO_DEVICE void load_all(const Forward& p, const Shared<kWidth>& shared,
                             const QueryTile& unit) {
  if (thread_index() != 0) return;
  const int tiles = tiles_of(unit.seen, kKeys);
  arrive_and_expect(shared.q_full, tile_bytes(kWorkerRows, kWidth));
  load_rows<kWidth>(shared.q, p.q, kWorkerRows, unit.queries.begin, unit.head, unit.batch,
                    shared.q_full);
  for (int index = 0; index < tiles; ++index) {
    const int stage = index % kStages;
    const uint32_t before = parity_of(index) ^ 1U;
    const int token = tile_of(unit.seen, index, kKeys).begin;
    wait(shared.k_empty + stage, before);
    arrive_and_expect(shared.k_full + stage, Shared<kWidth>::kTile);
    load_rows<kWidth>(shared.k + stage * Shared<kWidth>::kTile, p.k, kKeys, token, unit.key_head,
                      unit.batch, shared.k_full + stage);
    wait(shared.v_empty + stage, before);
    arrive_and_expect(shared.v_full + stage, Shared<kWidth>::kTile);
    load_rows<kWidth>(shared.v + stage * Shared<kWidth>::kTile, p.v, kKeys, token, unit.key_head,
                      unit.batch, shared.v_full + stage);
  }
}

// Of the two rows of which a thread has a part.
struct Rows {
  Ranges seen[2];
  float best[2] = {kMinusInfinity,
                   kMinusInfinity};  // what weights are relative to, at most 2^8 below the best
  float sum[2] = {0, 0};             // of what this thread has seen
};

PRAXINO_DEVICE void hide(Accumulator<kKeys>& s, const Rows& rows, const Range& keys, int lane) {
  PRAXINO_UNROLL
  for (int i = 0; i < kKeys / 2; ++i) {
    const int key = keys.begin + warpgroup_d(lane, i).column;
    if (key >= keys.end || !rows.seen[i / 2 % 2].has(key)) s.v[i] = kMinusInfinity;
  }
}

// Scores become weights; `shrink` is what brings earlier results to the same base. The base of a
// row changes only where the best score has grown by more than a factor 2^8 of its weight.
PRAXINO_DEVICE void weigh(Accumulator<kKeys>& s, Rows& rows, float (&shrink)[2], float scale) {
  constexpr float kSlack = 8;
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    float best = kMinusInfinity;
    PRAXINO_UNROLL
    for (int i = 2 * half; i < kKeys / 2; i += 4) best = fmaxf(best, fmaxf(s.v[i], s.v[i + 1]));
    best = fmaxf(best, shuffle_xor(best, 1));
    best = fmaxf(best, shuffle_xor(best, 2));
    const float before = rows.best[half];
    const bool grows = best * scale > before * scale + kSlack;
    rows.best[half] = grows ? best : before;
    // Of a row that has seen nothing all weights are 0.
    const float base = rows.best[half] == kMinusInfinity ? 0.0F : rows.best[half] * scale;
    shrink[half] = grows ? exp2_fast(before * scale - base) : 1.0F;
    float sum = rows.sum[half] * shrink[half];
    PRAXINO_UNROLL
    for (int i = 2 * half; i < kKeys / 2; i += 4) {
      s.v[i] = exp2_fast(s.v[i] * scale - base);
      s.v[i + 1] = exp2_fast(s.v[i + 1] * scale - base);
      sum += s.v[i] + s.v[i + 1];
    }
    rows.sum[half] = sum;
  }
}

template <int kWidth>
PRAXINO_DEVICE void shrink_rows(Accumulator<kWidth>& out, const float (&shrink)[2]) {
  if (shrink[0] == 1.0F && shrink[1] == 1.0F) return;
  PRAXINO_UNROLL
  for (int i = 0; i < kWidth / 2; ++i) out.v[i] *= shrink[i / 2 % 2];
}

// Divides by the sums, and writes results and logarithms.
template <int kWidth>
PRAXINO_DEVICE void finish(const Forward& p, const Shared<kWidth>& shared, const QueryTile& unit,
                           Rows& rows, const Accumulator<kWidth>& out, float scale) {
  const int worker = thread_index() / kWarpgroup - 1, lane = thread_index() % kWarpgroup;
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
      const float lse = (rows.best[half] * scale + log2_fast(sum)) * kLn2;
      store(p.lse + int64_t{unit.problem} * p.shape.mask.queries + query,
            sum == 0 ? kMinusInfinity : lse);
    }
  }
  store_rows(out, inverse, shared.q, kWorkerRows, p.out, unit.queries.begin, unit.head, unit.batch);
}

// Scores of the next tile of keys are under way while the results of this one are, and while its
// own become weights only those are.
template <int kWidth>
PRAXINO_DEVICE void work(const Forward& p, const Shared<kWidth>& shared, const QueryTile& unit) {
  constexpr int kTile = Shared<kWidth>::kTile, kSteps = kKeys / kTileDepth;
  const int worker = thread_index() / kWarpgroup - 1, lane = thread_index() % kWarpgroup;
  const int row = worker * kTileRows, tiles = tiles_of(unit.seen, kKeys);
  const float scale = p.shape.scale * kLog2E;
  const FrameMask& mask = p.shape.mask;
  const Range own{unit.queries.begin + row,
                  smaller(unit.queries.begin + row + kTileRows, mask.queries)};
  Rows rows;
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int query = own.begin + warpgroup_d(lane, 2 * half).row;
    rows.seen[half] = mask.keys_of({query, query + 1});
  }
  Accumulator<kWidth> out;
  clear(out);
  Accumulator<kKeys> s;
  FragmentA weights[kSteps];
  float shrink[2];
  const auto weigh_tile = [&](int index) {
    const Range keys = tile_of(unit.seen, index, kKeys);
    if (keys.size() < kKeys || !mask.full(own, keys)) hide(s, rows, keys, lane);
    weigh(s, rows, shrink, scale);
  };
  wait(shared.q_full, 0);
  if (tiles > 0) {
    wait(shared.k_full, 0);
    fence_products(s);
    multiply_rows<kWidth>(s, shared.q, kWorkerRows, row, shared.k);
    commit_products();
    wait_products<0>(s);
    release(shared.k_empty);
    weigh_tile(0);
    PRAXINO_UNROLL
    for (int step = 0; step < kSteps; ++step) weights[step] = as_operand(s, step);
    PRAXINO_NO_UNROLL
    for (int index = 1; index < tiles; ++index) {
      const int stage = index % kStages, last = (index - 1) % kStages;
      wait(shared.k_full + stage, parity_of(index));
      wait(shared.v_full + last, parity_of(index - 1));
      fence_products(s, out, weights);
      multiply_rows<kWidth>(s, shared.q, kWorkerRows, row, shared.k + stage * kTile);
      commit_products();
      add_product<kWidth, kSteps>(out, weights, shared.v + last * kTile);
      commit_products();
      wait_products<1>(s);
      release(shared.k_empty + stage);
      weigh_tile(index);
      wait_products<0>(out, weights);
      release(shared.v_empty + last);
      shrink_rows(out, shrink);
      PRAXINO_UNROLL
      for (int step = 0; step < kSteps; ++step) weights[step] = as_operand(s, step);
    }
    const int last = (tiles - 1) % kStages;
    wait(shared.v_full + last, parity_of(tiles - 1));
    fence_products(out, weights);
    add_product<kWidth, kSteps>(out, weights, shared.v + last * kTile);
    commit_products();
    wait_products<0>(out, weights);
  }
  finish(p, shared, unit, rows, out, scale);
}

template <int kWidth>
PRAXINO_KERNEL(kHopperThreads, 1)
frame_attention_hopper_kernel(PRAXINO_PARAMETERS Forward p) {
#if PRAXINO_HAS_WARPGROUPS
  const Shared<kWidth> shared;
  const QueryTile unit = query_tile<kWorkerRows>(p.shape);
  const auto init = [&] {
    init_barrier(shared.q_full, 1);
    init_ring(shared.k_full, 1, shared.k_empty);
    init_ring(shared.v_full, 1, shared.v_empty);
  };
  take_roles(
      init, [&] { load_all<kWidth>(p, shared, unit); }, [&] { work<kWidth>(p, shared, unit); });
#else
  __trap();
#endif
}

template <int kWidth>
Status launch_width(const FrameAttention& p, Stream stream) {
  const AttentionShape& s = p.shape;
  const int64_t blocks = queries_order(s, kWorkerRows).blocks();
  if (blocks == 0) return {};
  if (blocks > INT32_MAX || s.mask.keys == 0) return kRefused;
  Forward f{.q = {}, .k = {}, .v = {}, .out = {}, .lse = p.lse, .shape = s};
  const Status made[] = {
      make_head_map(f.q, p.q.data, p.q.strides, s, s.mask.queries, s.heads, kWorkerRows),
      make_head_map(f.k, p.k.data, p.k.strides, s, s.mask.keys, s.key_heads, kKeys),
      make_head_map(f.v, p.v.data, p.v.strides, s, s.mask.keys, s.key_heads, kKeys),
      make_head_map(f.out, p.out.data, p.out.strides, s, s.mask.queries, s.heads, kTileRows)};
  for (const Status& status : made) {
    if (!status.ok()) return status;
  }
  return launch(frame_attention_hopper_kernel<kWidth>,
                {"frame_attention_hopper", blocks, kHopperThreads, Shared<kWidth>::kBytes}, f,
                stream);
}

}  // namespace

Status launch_frame_attention_hopper(const FrameAttention& p, Stream stream) {
  if (!in_range(p.shape) || p.norm.query_gain != nullptr) return kRefused;
  if (!readable(p.q) || !readable(p.k) || !readable(p.v) || !readable(p.out)) return kRefused;
  return p.shape.width == 64 ? launch_width<64>(p, stream) : launch_width<128>(p, stream);
}

}  // namespace praxino::kernels
