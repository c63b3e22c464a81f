#include "kernels/frame_attention.h"

#include "kernels/device/launch.cuh"
#include "kernels/frame_attention_backward.h"
#include "kernels/frame_attention_tiles.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

// Of the rows that a thread has a part of: two of each row tile.
template <int kRowTiles>
struct Softmax {
  float best[kRowTiles][2];  // the largest score so far
  float sum[kRowTiles][2];   // of what this thread has seen; the quad's are added up at the end
};

PRAXINO_DEVICE float quad_max(float value) {
  value = fmaxf(value, shuffle_xor(value, 1));
  return fmaxf(value, shuffle_xor(value, 2));
}

// Scores become weights relative to the largest score of the row, and what came before is brought
// to it. `scale` is that of scores, to base 2.
template <int kRowTiles, int kKeyTiles, int kOutTiles>
PRAXINO_DEVICE void weigh(Results<kRowTiles, kKeyTiles>& s, Softmax<kRowTiles>& softmax,
                          Results<kRowTiles, kOutTiles>& out, float scale) {
  PRAXINO_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    PRAXINO_UNROLL
    for (int half = 0; half < 2; ++half) {
      const float before = softmax.best[m][half];
      float best = before;
      PRAXINO_UNROLL
      for (int n = 0; n < kKeyTiles; ++n)
        best = fmaxf(best, fmaxf(s[m][n].v[2 * half], s[m][n].v[2 * half + 1]));
      best = quad_max(best);
      softmax.best[m][half] = best;
      // Of a row that has seen nothing all weights are 0.
      const float base = best == kMinusInfinity ? 0.0F : best * scale;
      const float shrink = exp2_fast(before * scale - base);
      float sum = softmax.sum[m][half] * shrink;
      PRAXINO_UNROLL
      for (int n = 0; n < kKeyTiles; ++n) {
        PRAXINO_UNROLL
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          s[m][n].v[i] = exp2_fast(s[m][n].v[i] * scale - base);
          sum += s[m][n].v[i];
        }
      }
      softmax.sum[m][half] = sum;
      PRAXINO_UNROLL
      for (int n = 0; n < kOutTiles; ++n) {
        out[m][n].v[2 * half] *= shrink;
        out[m][n].v[2 * half + 1] *= shrink;
      }
    }
  }
}

// Divides by the sums and writes the logarithms.
template <int kRowTiles, int kOutTiles>
PRAXINO_DEVICE void finish(Softmax<kRowTiles>& softmax, Results<kRowTiles, kOutTiles>& out,
                           float scale, float* lse, int first_query, int queries) {
  PRAXINO_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    PRAXINO_UNROLL
    for (int half = 0; half < 2; ++half) {
      float sum = softmax.sum[m][half];
      sum += shuffle_xor(sum, 1);
      sum += shuffle_xor(sum, 2);
      const FragmentSpot spot = fragment_c(lane_index(), 2 * half);
      const int q = first_query + 16 * m + spot.row;
      if (spot.column == 0 && q < queries) {
        const float base = softmax.best[m][half] * scale;
        store(lse + q, sum == 0 ? kMinusInfinity : (base + log2_fast(sum)) * kLn2);
      }
      const float inverse = sum == 0 ? 0.0F : 1.0F / sum;
      PRAXINO_UNROLL
      for (int n = 0; n < kOutTiles; ++n) {
        out[m][n].v[2 * half] *= inverse;
        out[m][n].v[2 * half + 1] *= inverse;
      }
    }
  }
}

// A block takes a tile of queries of one head over all keys that it sees; the next tile of keys is
// on its way while one is worked on.
template <int kWidth, bool kNorm>
PRAXINO_KERNEL((ForwardTiles<kWidth, kNorm>::kThreads))
frame_attention_kernel(FrameAttention p) {
  using Tiles = ForwardTiles<kWidth, kNorm>;
  constexpr int kThreads = Tiles::kThreads, kKeys = Tiles::kKeys, kQueries = Tiles::kQueries;
  constexpr int kRowTiles = Tiles::kRowTiles;
  const QueryTile at = query_tile<kQueries>(p.shape);
  const FrameMask& mask = p.shape.mask;
  const int first = at.queries.begin, tiles = tiles_of(at.seen, kKeys);
  const float scale = p.shape.scale * kLog2E;

  Bf16* q_tile = reinterpret_cast<Bf16*>(shared_floats());
  const KeyStages<kKeys, kWidth, kThreads> stages(q_tile + kQueries * kWidth);
  int* seen_keys = reinterpret_cast<int*>(stages.keys + stages.kElements);
  copy_tile<kQueries, kWidth, kThreads>(q_tile, row_of(p.q, at.batch, at.head, first),
                                        p.q.strides.token, at.queries.size());
  if (tiles > 0) stages.fetch(p.k, p.v, at, 0);
  commit_copies();
  find_seen_keys<kQueries>(seen_keys, mask, first);
  Results<kRowTiles, kWidth / 8> out;
  clear<kRowTiles, kWidth / 8>(out);
  Softmax<kRowTiles> softmax;
  PRAXINO_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    softmax.best[m][0] = softmax.best[m][1] = kMinusInfinity;
    softmax.sum[m][0] = softmax.sum[m][1] = 0;
  }
  const int row = warp_index() * 16 * kRowTiles;
  PRAXINO_NO_UNROLL
  for (int index = 0; index < tiles; ++index) {
    if (index + 1 < tiles) stages.fetch(p.k, p.v, at, index + 1);
    commit_copies();
    wait_copies<1>();
    sync_block();
    const Range keys = tile_of(at.seen, index, kKeys);
    Bf16* k_tile = stages.keys_of(index);
    if constexpr (kNorm) {
      if (index == 0) {
        norm_rotate_tile<kQueries, kWidth, kThreads>(
            q_tile, at.queries.size(),
            rotation_of_queries<kWidth>(p.norm, p.shape, at.head, first));
      }
      norm_rotate_tile<kKeys, kWidth, kThreads>(
          k_tile, keys.size(), rotation_of_keys<kWidth>(p.norm, p.shape, at.key_head, keys.begin));
      sync_block();
    }
    Results<kRowTiles, kKeys / 8> scores;
    multiply_rows<kWidth, kRowTiles, kKeys / 8>(scores, q_tile + row * kWidth, k_tile);
    if (keys.size() < kKeys || !mask.full(at.queries, keys))
      hide<kRowTiles, kKeys / 8>(scores, seen_keys + kSeenInts * row, keys);
    weigh<kRowTiles, kKeys / 8, kWidth / 8>(scores, softmax, out, scale);
    Rounded<kRowTiles, kKeys / 8> weights;
    round_results<kRowTiles, kKeys / 8>(weights, scores);
    add_product<kWidth, kRowTiles, kKeys / 8>(out, weights, stages.values_of(index));
    sync_block();  // before the next but one tile is copied to where this one is
  }
  wait_copies<0>();
  sync_block();
  finish<kRowTiles, kWidth / 8>(softmax, out, scale, p.lse + int64_t{at.problem} * mask.queries,
                                first + row, mask.queries);
  write_rows<kWidth, kRowTiles>(out, 1.0F, q_tile, row_of(p.out, at.batch, at.head, first),
                                p.out.strides.token, at.queries.size());
}

template <int kWidth, bool kNorm>
Status launch_variant(const FrameAttention& p, Stream stream) {
  using Tiles = ForwardTiles<kWidth, kNorm>;
  const int64_t blocks = queries_order(p.shape, Tiles::kQueries).blocks();
  if (blocks == 0) return {};
  if (blocks > INT32_MAX) return kRefused;
  return launch(frame_attention_kernel<kWidth, kNorm>,
                {"frame_attention", blocks, Tiles::kThreads, Tiles::kSharedBytes}, p, stream);
}

}  // namespace

Status launch_frame_attention(const FrameAttention& p, Stream stream) {
  if (!in_range(p.shape) || !in_range(p.norm)) return kRefused;
  if (!readable(p.q) || !readable(p.k) || !readable(p.v) || !readable(p.out)) return kRefused;
  const bool norm = p.norm.query_gain != nullptr;
  if (p.shape.width == 64)
    return norm ? launch_variant<64, true>(p, stream) : launch_variant<64, false>(p, stream);
  return norm ? launch_variant<128, true>(p, stream) : launch_variant<128, false>(p, stream);
}

bool takes_norm(const AttentionShape& shape) {
  return in_range(shape) && backward_plan(shape, shared_limit()) != BackwardPlan::kTwoPasses;
}

Status launch_frame_attention_backward(const FrameAttentionBackward& p, Stream stream) {
  if (!in_range(p.shape) || !in_range(p.norm)) return kRefused;
  for (const HeadsIn& in : {p.q, p.k, p.v, p.out, p.grad}) {
    if (!readable(in)) return kRefused;
  }
  if (!readable(p.grad_q) || !readable(p.grad_k) || !readable(p.grad_v)) return kRefused;
  const BackwardPlan plan = backward_plan(p.shape, shared_limit());
  if (plan != BackwardPlan::kTwoPasses) return launch_gradients_in_one_pass(p, plan, stream);
  if (p.norm.query_gain != nullptr) return kRefused;
  const Status status = launch_query_gradients(p, stream);
  return status.ok() ? launch_key_gradients(p, stream) : status;
}

}  // namespace praxino::kernels
