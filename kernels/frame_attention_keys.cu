// Gradients by tiles of keys: those of keys and values, and where all keys of a head fit one tile,
// those of queries as well.
#include "kernels/device/launch.cuh"
#include "kernels/frame_attention_backward.cuh"
#include "kernels/frame_attention_backward.h"
#include "kernels/sum_rows.h"

namespace praxino::kernels {
namespace {

using namespace device;

// Where a block's shared memory goes.
template <class Tiles, int kWidth>
struct Memory {
  Bf16 *k, *v;                     // the tile of keys
  Bf16 *q, *grad;                  // two stages of queries and of gradients of their results
  Bf16* grad_scores;               // keys x queries, for the gradient of queries
  float *lse, *delta;              // of two stages
  float *query_gains, *key_gains;  // a row of sums a warp
  int* seen;

  PRAXINO_DEVICE Memory() {
    constexpr int kKeyTile = Tiles::kKeys * kWidth, kQueryTiles = 2 * Tiles::kQueries * kWidth;
    k = reinterpret_cast<Bf16*>(shared_floats());
    v = k + kKeyTile;
    q = v + kKeyTile;
    grad = q + kQueryTiles;
    grad_scores = grad + kQueryTiles;
    lse = reinterpret_cast<float*>(grad_scores +
                                   (Tiles::kOnePass ? Tiles::kKeys * Tiles::kQueries : 0));
    delta = lse + 2 * Tiles::kQueries;
    seen = reinterpret_cast<int*>(delta + 2 * Tiles::kQueries);
    query_gains = reinterpret_cast<float*>(seen + kSeenInts * Tiles::kKeys);
    key_gains = query_gains + Tiles::kWarps * kWidth;
  }
};

// The keys of a block, and the tiles of queries that come by: those of all heads that share the
// keys, one head after the other.
struct Work {
  int batch, key_head;
  Range keys;
  Range queries;  // that see any of the keys; in one pass, all
  int tiles;      // of queries, of a head
  int shared_by;

  PRAXINO_DEVICE int head(int index) const { return key_head * shared_by + index / tiles; }
  PRAXINO_DEVICE int count() const { return tiles * shared_by; }
};

template <class Tiles>
PRAXINO_DEVICE Work work_of(const AttentionShape& shape) {
  const TileOrder::Unit unit = keys_order(shape, Tiles::kKeys).unit(block_index());
  const int key_heads = static_cast<int>(shape.key_heads);
  const int problem = static_cast<int>(unit.problem);
  const int first = static_cast<int>(unit.tile) * Tiles::kKeys;
  Work work{.batch = problem / key_heads,
            .key_head = problem % key_heads,
            .keys = {first, smaller(first + Tiles::kKeys, shape.mask.keys)},
            .queries = {0, shape.mask.queries},
            .tiles = 0,
            .shared_by = static_cast<int>(shape.shared_by())};
  if constexpr (!Tiles::kOnePass) work.queries = shape.mask.queries_of(work.keys);
  work.tiles = tiles_of(work.queries.size(), Tiles::kQueries);
  return work;
}

// Begins to copy tile `index` of queries, and fetches what its rows need.
template <class Tiles, int kWidth>
PRAXINO_DEVICE void fetch(const FrameAttentionBackward& p, const Memory<Tiles, kWidth>& memory,
                          const Work& work, int index) {
  constexpr int kQueries = Tiles::kQueries, kThreads = Tiles::kThreads;
  const int head = work.head(index), stage = index % 2;
  const Range queries = tile_of(work.queries, index % work.tiles, kQueries);
  const Bf16* grad = row_of(p.grad, work.batch, head, queries.begin);
  copy_tile<kQueries, kWidth, kThreads>(memory.q + stage * kQueries * kWidth,
                                        row_of(p.q, work.batch, head, queries.begin),
                                        p.q.strides.token, queries.size());
  copy_tile<kQueries, kWidth, kThreads>(memory.grad + stage * kQueries * kWidth, grad,
                                        p.grad.strides.token, queries.size());
  const int64_t row =
      (int64_t{work.batch} * p.shape.heads + head) * p.shape.mask.queries + queries.begin;
  load_sums<kQueries>(memory.lse + stage * kQueries, p.lse + row, queries.size());
  float* delta = memory.delta + stage * kQueries;
  if constexpr (Tiles::kOnePass) {
    find_deltas<kWidth>(delta, row_of(p.out, work.batch, head, queries.begin), p.out.strides.token,
                        grad, p.grad.strides.token, kQueries, queries.size(), nullptr);
  } else {
    for (int i = thread_index(); i < kQueries; i += kThreads)
      store(delta + i, i < queries.size() ? load(p.delta + row + i) : 0.0F);
  }
}

// Scores become weights; gradients of weights those of scores. Columns are queries.
template <int kRowTiles, int kColumnTiles>
PRAXINO_DEVICE void weigh(Results<kRowTiles, kColumnTiles>& weights, const float* lse,
                          float scale) {
  PRAXINO_UNROLL
  for (int n = 0; n < kColumnTiles; ++n) {
    PRAXINO_UNROLL
    for (int i = 0; i < 2; ++i) {
      const float base = load(lse + 8 * n + fragment_c(lane_index(), i).column);
      PRAXINO_UNROLL
      for (int m = 0; m < kRowTiles; ++m) {
        weights[m][n].v[i] = exp2_fast(weights[m][n].v[i] * scale - base);
        weights[m][n].v[i + 2] = exp2_fast(weights[m][n].v[i + 2] * scale - base);
      }
    }
  }
}
template <int kRowTiles, int kColumnTiles>
PRAXINO_DEVICE void to_scores(Results<kRowTiles, kColumnTiles>& grads,
                              const Rounded<kRowTiles, kColumnTiles>& weights, const float* delta) {
  PRAXINO_UNROLL
  for (int n = 0; n < kColumnTiles; ++n) {
    PRAXINO_UNROLL
    for (int i = 0; i < 2; ++i) {
      const float mean = load(delta + 8 * n + fragment_c(lane_index(), i).column);
      PRAXINO_UNROLL
      for (int m = 0; m < kRowTiles; ++m) {
        PRAXINO_UNROLL
        for (int half = 0; half < 2; ++half) {
          const uint32_t pair = weights[m][n / 2].word[n % 2 * 2 + half];
          float& grad = grads[m][n].v[2 * half + i];
          grad = float_of(i == 0 ? pair << 16 : pair & 0xffff0000U) * (grad - mean);
        }
      }
    }
  }
}

// The gradient of a tile of queries, from the gradients of scores that the warps left; into the
// tile of queries itself, which nobody reads any more. Every warp has a part of 16 rows.
template <class Tiles, int kWidth>
PRAXINO_DEVICE void find_query_gradients(const Memory<Tiles, kWidth>& memory, Bf16* q_tile,
                                         float scale) {
  constexpr int kRowParts = Tiles::kQueries / 16, kColumnParts = Tiles::kWarps / kRowParts;
  constexpr int kColumns = kWidth / kColumnParts;
  const int row = warp_index() % kRowParts * 16, column = warp_index() / kRowParts * kColumns;
  FragmentC sum[kColumns / 8];
  PRAXINO_UNROLL
  for (int n = 0; n < kColumns / 8; ++n) sum[n] = {};
  PRAXINO_UNROLL_TWICE
  for (int k = 0; k < Tiles::kKeys; k += 16) {
    const FragmentA left = operand_a_transposed<Tiles::kQueries>(memory.grad_scores, k, row);
    PRAXINO_UNROLL
    for (int n = 0; n < kColumns / 8; n += 2) {
      const OperandB right = operand_b_transposed<kWidth>(memory.k, k, column + 8 * n);
      multiply_add(sum[n], left, right.b[0]);
      multiply_add(sum[n + 1], left, right.b[1]);
    }
  }
  PRAXINO_UNROLL
  for (int n = 0; n < kColumns / 8; ++n) {
    PRAXINO_UNROLL
    for (int i = 0; i < 4; ++i) sum[n].v[i] *= scale;
    store_result<kWidth>(q_tile, row, column + 8 * n, sum[n]);
  }
}

template <class Tiles, int kWidth>
PRAXINO_DEVICE void write_query_gradients(const FrameAttentionBackward& p,
                                          const Memory<Tiles, kWidth>& memory, const Work& work,
                                          int index, const Bf16* tile) {
  constexpr int kQueries = Tiles::kQueries, kThreads = Tiles::kThreads;
  const Range queries = tile_of(work.queries, index % work.tiles, kQueries);
  const int head = work.head(index);
  Bf16* to = row_of(p.grad_q, work.batch, head, queries.begin);
  if (p.norm.query_gain == nullptr) {
    copy_rows_out<kWidth>(tile, to, p.grad_q.strides.token, 0, kQueries, queries.size(),
                          thread_index(), kThreads);
    return;
  }
  norm_rotate_tile_backward<kQueries, kWidth, kThreads>(
      tile, queries.size(),
      {row_of(p.q, work.batch, head, queries.begin), p.q.strides.token, to, p.grad_q.strides.token,
       rotation_of_queries<kWidth>(p.norm, p.shape, head, queries.begin)},
      memory.query_gains);
}

// The sums of all warps, in their order, into this block's row.
template <class Tiles, int kWidth>
PRAXINO_DEVICE void write_gains(const FrameAttentionBackward& p,
                                const Memory<Tiles, kWidth>& memory) {
  for (int i = thread_index(); i < 2 * kWidth; i += Tiles::kThreads) {
    const float* sums = i < kWidth ? memory.query_gains + i : memory.key_gains + i - kWidth;
    float sum = 0;
    for (int warp = 0; warp < Tiles::kWarps; ++warp) sum += load(sums + warp * kWidth);
    store(p.gain_workspace + block_index() * 2 * kWidth + i, sum);
  }
}

// A warp keeps the gradients of its keys and values while the queries come by; the next tile of
// queries is on its way while one is worked on.
template <class Tiles, int kWidth>
PRAXINO_KERNEL(Tiles::kThreads)
frame_attention_keys_kernel(FrameAttentionBackward p) {
  constexpr int kThreads = Tiles::kThreads, kKeys = Tiles::kKeys, kQueries = Tiles::kQueries;
  constexpr int kRowTiles = Tiles::kRowTiles;
  const Memory<Tiles, kWidth> memory;
  const Work work = work_of<Tiles>(p.shape);
  const FrameMask& mask = p.shape.mask;
  const float scale = p.shape.scale * kLog2E;
  const bool norm = Tiles::kOnePass && p.norm.query_gain != nullptr;

  copy_tile<kKeys, kWidth, kThreads>(memory.k,
                                     row_of(p.k, work.batch, work.key_head, work.keys.begin),
                                     p.k.strides.token, work.keys.size());
  copy_tile<kKeys, kWidth, kThreads>(memory.v,
                                     row_of(p.v, work.batch, work.key_head, work.keys.begin),
                                     p.v.strides.token, work.keys.size());
  if (work.count() > 0) fetch(p, memory, work, 0);
  commit_copies();
  find_seeing_queries<kKeys>(memory.seen, mask, work.keys.begin);
  if constexpr (Tiles::kOnePass) {
    for (int i = thread_index(); i < 2 * Tiles::kWarps * kWidth; i += kThreads)
      store(memory.query_gains + i, 0.0F);
  }
  const int row = warp_index() * 16 * kRowTiles;
  Results<kRowTiles, kWidth / 8> grad_k, grad_v;
  clear<kRowTiles, kWidth / 8>(grad_k);
  clear<kRowTiles, kWidth / 8>(grad_v);
  PRAXINO_NO_UNROLL
  for (int index = 0; index < work.count(); ++index) {
    if (index + 1 < work.count()) fetch(p, memory, work, index + 1);
    commit_copies();
    wait_copies<1>();
    sync_block();
    const Range queries = tile_of(work.queries, index % work.tiles, kQueries);
    const int stage = index % 2;
    Bf16* q_tile = memory.q + stage * kQueries * kWidth;
    const Bf16* grad_tile = memory.grad + stage * kQueries * kWidth;
    if (norm) {
      if (index == 0) {
        norm_rotate_tile<kKeys, kWidth, kThreads>(
            memory.k, work.keys.size(),
            rotation_of_keys<kWidth>(p.norm, p.shape, work.key_head, work.keys.begin));
      }
      norm_rotate_tile<kQueries, kWidth, kThreads>(
          q_tile, queries.size(),
          rotation_of_queries<kWidth>(p.norm, p.shape, work.head(index), queries.begin));
      sync_block();
    }
    Results<kRowTiles, kQueries / 8> scores;
    multiply_rows<kWidth, kRowTiles, kQueries / 8>(scores, memory.k + row * kWidth, q_tile);
    if (work.keys.size() < kKeys || !mask.full(queries, work.keys))
      hide<kRowTiles, kQueries / 8>(scores, memory.seen + kSeenInts * row, queries);
    weigh<kRowTiles, kQueries / 8>(scores, memory.lse + stage * kQueries, scale);
    Rounded<kRowTiles, kQueries / 8> weights, grad_scores;
    round_results<kRowTiles, kQueries / 8>(weights, scores);
    add_product<kWidth, kRowTiles, kQueries / 8>(grad_v, weights, grad_tile);
    multiply_rows<kWidth, kRowTiles, kQueries / 8>(scores, memory.v + row * kWidth, grad_tile);
    to_scores<kRowTiles, kQueries / 8>(scores, weights, memory.delta + stage * kQueries);
    round_results<kRowTiles, kQueries / 8>(grad_scores, scores);
    add_product<kWidth, kRowTiles, kQueries / 8>(grad_k, grad_scores, q_tile);
    if constexpr (Tiles::kOnePass) {
      PRAXINO_UNROLL
      for (int m = 0; m < kRowTiles; ++m) {
        PRAXINO_UNROLL
        for (int n = 0; n < kQueries / 16; ++n)
          store_operand<kQueries>(memory.grad_scores, row + 16 * m, 16 * n, grad_scores[m][n]);
      }
      sync_block();
      find_query_gradients<Tiles, kWidth>(memory, q_tile, p.shape.scale);
      sync_block();
      write_query_gradients(p, memory, work, index, q_tile);
    }
    sync_block();  // before the next but one tile is copied to where this one is
  }
  wait_copies<0>();
  sync_block();
  write_rows<kWidth, kRowTiles>(grad_v, 1.0F, memory.v,
                                row_of(p.grad_v, work.batch, work.key_head, work.keys.begin),
                                p.grad_v.strides.token, work.keys.size());
  Bf16* to = row_of(p.grad_k, work.batch, work.key_head, work.keys.begin);
  if (!norm) {
    write_rows<kWidth, kRowTiles>(grad_k, p.shape.scale, memory.k, to, p.grad_k.strides.token,
                                  work.keys.size());
    return;
  }
  keep_rows<kWidth, kRowTiles>(grad_k, p.shape.scale, memory.k);
  sync_block();
  norm_rotate_tile_backward<kKeys, kWidth, kThreads>(
      memory.k, work.keys.size(),
      {row_of(p.k, work.batch, work.key_head, work.keys.begin), p.k.strides.token, to,
       p.grad_k.strides.token,
       rotation_of_keys<kWidth>(p.norm, p.shape, work.key_head, work.keys.begin)},
      memory.key_gains);
  sync_block();
  write_gains<Tiles, kWidth>(p, memory);
}

template <class Tiles, int kWidth>
Status launch_keys(const FrameAttentionBackward& p, const char* name, Stream stream) {
  const int64_t blocks = keys_order(p.shape, Tiles::kKeys).blocks();
  if (blocks == 0) return {};
  if (blocks > INT32_MAX) return kRefused;
  return launch(frame_attention_keys_kernel<Tiles, kWidth>,
                {name, blocks, Tiles::kThreads, Tiles::kSharedBytes}, p, stream);
}

Status launch_one_pass(const FrameAttentionBackward& p, BackwardPlan plan, Stream stream) {
  const char* name = "frame_attention_one_pass";
  if (p.shape.width == 128) return launch_keys<OnePass128, 128>(p, name, stream);
  return plan == BackwardPlan::kOnePassOf128 ? launch_keys<OnePass64, 64>(p, name, stream)
                                             : launch_keys<OnePass64Long, 64>(p, name, stream);
}

}  // namespace

Status launch_key_gradients(const FrameAttentionBackward& p, Stream stream) {
  const char* name = "frame_attention_keys";
  return p.shape.width == 64 ? launch_keys<KeyTiles64, 64>(p, name, stream)
                             : launch_keys<KeyTiles128, 128>(p, name, stream);
}

Status launch_gradients_in_one_pass(const FrameAttentionBackward& p, BackwardPlan plan,
                                    Stream stream) {
  const Status status = launch_one_pass(p, plan, stream);
  if (!status.ok() || p.norm.query_gain == nullptr) return status;
  return launch_sum_rows({.rows = p.gain_workspace,
                          .count = p.shape.batch * p.shape.key_heads,
                          .width = p.shape.width,
                          .results = {p.grad_query_gain, p.grad_key_gain}},
                         stream);
}

}  // namespace praxino::kernels
