// The gradient of queries, a block a tile of queries, where keys of a head do not fit the chip.
#include "kernels/device/launch.cuh"
#include "kernels/frame_attention_backward.cuh"
#include "kernels/frame_attention_backward.h"

namespace praxino::kernels {
namespace {

using namespace device;

// Walks the keys as the forward pass does. Leaves the sums of grad * out, which the pass over keys
// needs, too.
template <int kWidth>
PRAXINO_KERNEL(QueryTiles<kWidth>::kThreads)
frame_attention_queries_kernel(FrameAttentionBackward p) {
  using Tiles = QueryTiles<kWidth>;
  constexpr int kThreads = Tiles::kThreads, kKeys = Tiles::kKeys, kQueries = Tiles::kQueries;
  constexpr int kRowTiles = Tiles::kRowTiles;
  const QueryTile at = query_tile<kQueries>(p.shape);
  const FrameMask& mask = p.shape.mask;
  const int first = at.queries.begin, tiles = tiles_of(at.seen, kKeys);
  const float scale = p.shape.scale * kLog2E;

  Bf16* q_tile = reinterpret_cast<Bf16*>(shared_floats());
  Bf16* grad_tile = q_tile + kQueries * kWidth;
  const KeyStages<kKeys, kWidth, kThreads> stages(grad_tile + kQueries * kWidth);
  float* lse = reinterpret_cast<float*>(stages.keys + stages.kElements);
  float* delta = lse + kQueries;
  int* seen_keys = reinterpret_cast<int*>(delta + kQueries);
  const Bf16* grad = row_of(p.grad, at.batch, at.head, first);
  copy_tile<kQueries, kWidth, kThreads>(q_tile, row_of(p.q, at.batch, at.head, first),
                                        p.q.strides.token, at.queries.size());
  copy_tile<kQueries, kWidth, kThreads>(grad_tile, grad, p.grad.strides.token, at.queries.size());
  if (tiles > 0) stages.fetch(p.k, p.v, at, 0);
  commit_copies();
  const int64_t row0 = int64_t{at.problem} * mask.queries + first;
  find_deltas<kWidth>(delta, row_of(p.out, at.batch, at.head, first), p.out.strides.token, grad,
                      p.grad.strides.token, kQueries, at.queries.size(), p.delta + row0);
  load_sums<kQueries>(lse, p.lse + row0, at.queries.size());
  find_seen_keys<kQueries>(seen_keys, mask, first);

  const int row = warp_index() * 16 * kRowTiles;
  Results<kRowTiles, kWidth / 8> grad_q;
  clear<kRowTiles, kWidth / 8>(grad_q);
  PRAXINO_NO_UNROLL
  for (int index = 0; index < tiles; ++index) {
    if (index + 1 < tiles) stages.fetch(p.k, p.v, at, index + 1);
    commit_copies();
    wait_copies<1>();
    sync_block();
    const Range keys = tile_of(at.seen, index, kKeys);
    const Bf16* k_tile = stages.keys_of(index);
    Results<kRowTiles, kKeys / 8> p_tile, grad_s;
    multiply_rows<kWidth, kRowTiles, kKeys / 8>(p_tile, q_tile + row * kWidth, k_tile);
    if (keys.size() < kKeys || !mask.full(at.queries, keys))
      hide<kRowTiles, kKeys / 8>(p_tile, seen_keys + kSeenInts * row, keys);
    multiply_rows<kWidth, kRowTiles, kKeys / 8>(grad_s, grad_tile + row * kWidth,
                                                stages.values_of(index));
    PRAXINO_UNROLL
    for (int m = 0; m < kRowTiles; ++m) {
      PRAXINO_UNROLL
      for (int half = 0; half < 4; half += 2) {
        const int own = row + 16 * m + fragment_c(lane_index(), half).row;
        const float base = load(lse + own), mean = load(delta + own);
        PRAXINO_UNROLL
        for (int n = 0; n < kKeys / 8; ++n) {
          PRAXINO_UNROLL
          for (int i = half; i < half + 2; ++i) {
            const float weight = exp2_fast(p_tile[m][n].v[i] * scale - base);
            grad_s[m][n].v[i] = weight * (grad_s[m][n].v[i] - mean);
          }
        }
      }
    }
    Rounded<kRowTiles, kKeys / 8> left;
    round_results<kRowTiles, kKeys / 8>(left, grad_s);
    add_product<kWidth, kRowTiles, kKeys / 8>(grad_q, left, k_tile);
    sync_block();  // before the next but one tile is copied to where this one is
  }
  wait_copies<0>();
  sync_block();
  write_rows<kWidth, kRowTiles>(grad_q, p.shape.scale, q_tile,
                                row_of(p.grad_q, at.batch, at.head, first), p.grad_q.strides.token,
                                at.queries.size());
}

template <int kWidth>
Status launch_width(const FrameAttentionBackward& p, Stream stream) {
  using Tiles = QueryTiles<kWidth>;
  const int64_t blocks = queries_order(p.shape, Tiles::kQueries).blocks();
  if (blocks == 0) return {};
  if (blocks > INT32_MAX) return kRefused;
  return launch(frame_attention_queries_kernel<kWidth>,
                {"frame_attention_queries", blocks, Tiles::kThreads, Tiles::kSharedBytes}, p,
                stream);
}

}  // namespace

Status launch_query_gradients(const FrameAttentionBackward& p, Stream stream) {
  return p.shape.width == 64 ? launch_width<64>(p, stream) : launch_width<128>(p, stream);
}

}  // namespace praxino::kernels
