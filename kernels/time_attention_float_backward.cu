#include "kernels/device/launch.cuh"
#include "kernels/device/time_lanes.cuh"
#include "kernels/time_attention.h"

namespace praxino::kernels {
namespace {

using namespace device;

// A lane's part of the sums for a gain: column_of_lane_sum(), of all rows that its warp has seen.
template <int kWidth>
struct GainSums {
  float v[kWidth / 32];
};

// A lane's rows as they came, and what became of them.
struct NormedLanes {
  const float* raw;    // in memory
  TimeHeads heads;     // of `raw`
  const float* image;  // normalized and rotated: the warp's tile
  LaneScale scale;
};

PRAXINO_DEVICE void exchange(float& a, float& b) {
  const float was = a;
  a = b;
  b = was;
}

// Each row takes the place of the one before it, the first that of the last. So a loop that is not
// unrolled, and needs the registers of one row, works on row 0 alone.
template <int kWidth>
PRAXINO_DEVICE void turn(LaneRows<kWidth>& rows, LaneScale& scale) {
  PRAXINO_UNROLL
  for (int r = 0; r + 1 < kLaneRows; ++r) {
    PRAXINO_UNROLL
    for (int i = 0; i < kWidth / kRowLanes; ++i) exchange(rows.v[r][i], rows.v[r + 1][i]);
    exchange(scale.of[r], scale.of[r + 1]);
  }
}

// Gradients of a lane's rotated rows become those of the rows before norm and rotation. Adds to the
// sums for the gain.
template <int kWidth>
PRAXINO_DEVICE void norm_backward(LaneRows<kWidth>& grad, const NormedLanes& rows,
                                  const TimeNorm& norm, const LaneSpot& spot,
                                  GainSums<kWidth>& sums) {
  constexpr int kHalf = kWidth / 64;  // pieces
  LaneScale scale = rows.scale;
  Vector<4> first[kHalf] = {}, second[kHalf] = {};
  PRAXINO_NO_UNROLL
  for (int r = 0; r < kLaneRows; ++r) {
    // The gradient along the row is the same before and after rotation.
    float along = 0;
    PRAXINO_UNROLL
    for (int piece = 0; piece < 2 * kHalf; ++piece) {
      const Vector<4> y = load_vector<4>(rows.image + lane_of_image<kWidth>(r) + 32 * piece);
      PRAXINO_UNROLL
      for (int i = 0; i < 4; ++i) along += grad.v[0][4 * piece + i] * y.v[i];
    }
    along = group_sum(along, kRowLanes) * (scale.of[0] * scale.of[0] / kWidth);
    PRAXINO_UNROLL
    for (int piece = 0; piece < kHalf; ++piece) {
      const int column = lane_column(lane_index(), 4 * piece);
      const TimeGains<4> gains = load_gains<kWidth, 4>(norm, column);
      const auto angles = load_angles_at<kWidth, 4>(norm, spot.position_of(r), column);
      Vector<4> x1 = {}, x2 = {};
      if (spot.there(r)) {
        const float* raw = rows.raw + lane_offset<kWidth>(spot, rows.heads, r) + 32 * piece;
        x1 = load_vector<4>(raw);
        x2 = load_vector<4>(raw + kWidth / 2);
      }
      PRAXINO_UNROLL
      for (int i = 0; i < 4; ++i) {
        float &g1 = grad.v[0][4 * piece + i], &g2 = grad.v[0][4 * (piece + kHalf) + i];
        const float cos = angles.cos.v[i] * scale.of[0], sin = angles.sin.v[i] * scale.of[0];
        const float a = g1 * cos + g2 * sin, b = g2 * cos - g1 * sin;
        first[piece].v[i] += a * x1.v[i];
        second[piece].v[i] += b * x2.v[i];
        g1 = a * gains.first.v[i] - x1.v[i] * along;
        g2 = b * gains.second.v[i] - x2.v[i] * along;
      }
    }
    turn(grad, scale);
  }
  PRAXINO_UNROLL
  for (int piece = 0; piece < kHalf; ++piece) {
    sums.v[piece] += spread_sums<kRowLanes>(first[piece].v);
    sums.v[piece + kHalf] += spread_sums<kRowLanes>(second[piece].v);
  }
}

template <int kWidth>
class Backward {
 public:
  PRAXINO_DEVICE explicit Backward(const TimeAttentionBackward<float>& p)
      : p_(p), team_(p.plan), mask_(lane_mask(p.in.shape, team_.tile)) {}

  PRAXINO_DEVICE void run() const {
    GainSums<kWidth> of_queries = {}, of_keys = {};
    walk(p_.in.shape, p_.plan, team_, [&](const TimeCursor& at) {
      work(lane_spot(p_.in.shape, team_, at), of_queries, of_keys);
    });
    if (!normed()) return;
    team_.sync();  // the last scores have been read: sums go to their place
    float* own = scores(kProbabilities, team_.tile);
    static_assert(2 * kWidth <= kTimeTile * score_stride(kTimeTile));
    PRAXINO_UNROLL
    for (int piece = 0; piece < kWidth / 32; ++piece) {
      const int column = column_of_lane_sum(lane_index(), piece);
      store(own + column, of_queries.v[piece]);
      store(own + kWidth + column, of_keys.v[piece]);
    }
    store_gain_sums<kWidth>(p_, team_, own, kTimeTile * stride());
  }

 private:
  enum Image { kQ, kGrad, kK, kV };
  enum Scores { kProbabilities, kGradients };

  PRAXINO_DEVICE bool normed() const { return p_.in.queries.gain != nullptr; }

  // Shared memory: images of all warps, by team; then scores, likewise.
  PRAXINO_DEVICE float* image(Image operand, int tile) const {
    const int number = (kFloatBackwardTiles.images * team_.number + operand) * team_.tiles + tile;
    return shared_floats() + number * kTimeTile * kWidth;
  }
  PRAXINO_DEVICE float* own_image(Image operand) const { return image(operand, team_.tile); }
  PRAXINO_DEVICE int stride() const { return score_stride(kTimeTile * team_.tiles); }
  PRAXINO_DEVICE float* scores(Scores operand, int tile) const {
    const int number = (kFloatBackwardTiles.scores * team_.number + operand) * team_.tiles + tile;
    return shared_floats() +
           kTimeTile * (kFloatBackwardTiles.images * p_.plan.warps * kWidth + number * stride());
  }
  PRAXINO_DEVICE TimeHeads heads_of_query(int64_t token, const LaneSpot& spot, int round) const {
    return time_heads(token, spot.head * static_cast<int>(p_.in.shape.group) + round);
  }

  PRAXINO_DEVICE void work(const LaneSpot& spot, GainSums<kWidth>& of_queries,
                           GainSums<kWidth>& of_keys) const {
    const TimeInputs<float>& in = p_.in;
    LaneScale k_scale = {}, q_scale = {};
    {
      auto k = load_lanes<kWidth>(in.k, spot, time_heads(in.k_token, spot.head));
      team_.sync();  // the last sequence's images have been read
      copy_lanes_async<kWidth>(own_image(kV), in.v, spot, time_heads(in.v_token, spot.head));
      copy_gradients(spot, 0);
      if (normed()) k_scale = norm_rotate(k, in.keys, spot);
      store_image(own_image(kK), k);
    }
    for (int round = 0;;) {
      auto q = load_lanes<kWidth>(in.q, spot, heads_of_query(in.q_token, spot, round));
      if (normed()) q_scale = norm_rotate(q, in.queries, spot);
      store_image(own_image(kQ), q);
      wait_copies<0>();
      team_.sync();
      rows(spot, round, q_scale, of_queries);
      team_.sync();  // all scores are there
      columns(spot, round, k_scale, of_keys);
      if (++round == in.shape.group) break;
      team_.sync();  // the images of this round have been read
      copy_gradients(spot, round);
    }
  }
  PRAXINO_DEVICE void copy_gradients(const LaneSpot& spot, int round) const {
    copy_lanes_async<kWidth>(own_image(kGrad), p_.grad, spot,
                             heads_of_query(p_.in.shape.heads() * kWidth, spot, round));
    commit_copies();
  }

  // Scores of the warp's rows of image `left`, with those of `right` that they see.
  PRAXINO_DEVICE void multiply(Scores to, Image left, Image right) const {
    LaneRows<kWidth> own;
    PRAXINO_UNROLL
    for (int r = 0; r < kLaneRows; ++r) {
      PRAXINO_UNROLL
      for (int piece = 0; piece < kWidth / 32; ++piece) {
        const float* from = own_image(left) + lane_of_image<kWidth>(r) + 32 * piece;
        set_piece(own, r, piece, load_vector<4>(from));
      }
    }
    PRAXINO_NO_UNROLL
    for (int tile = 0; tile <= team_.tile; ++tile) {
      if (!mask_.sees_tile(tile)) continue;
      multiply_rows(scores(to, team_.tile) + kTimeTile * tile, stride(), own, image(right, tile),
                    paired_rows(p_.in.shape, tile));
    }
  }

  // The warp's tile as queries: probabilities and their gradients for all, and its own gradient.
  PRAXINO_DEVICE void rows(const LaneSpot& spot, int round, const LaneScale& scale,
                           GainSums<kWidth>& sums) const {
    multiply(kProbabilities, kQ, kK);
    multiply(kGradients, kGrad, kV);
    sync_warp();
    if (team_.tile == 0) {
      score_gradients<1>();
    } else {
      score_gradients<kMostTimeTiles>();
    }
    sync_warp();
    LaneRows<kWidth> grad = {};
    const float* own = scores(kGradients, team_.tile) + lane_row(lane_index(), 0) * stride();
    PRAXINO_NO_UNROLL
    for (int tile = 0; tile <= team_.tile; ++tile) {
      if (!mask_.sees_tile(tile)) continue;
      add_weighted<false>(grad, own + kTimeTile * tile, stride(), image(kK, tile),
                          paired_rows(p_.in.shape, tile));
    }
    if (normed()) {
      const TimeHeads raw = heads_of_query(p_.in.q_token, spot, round);
      norm_backward(grad, {p_.in.q, raw, own_image(kQ), scale}, p_.in.queries, spot, sums);
    }
    store_lanes(grad, p_.grad_q, spot, heads_of_query(p_.in.shape.heads() * kWidth, spot, round));
  }

  // Scores become probabilities, gradients of these those of the scores. kTiles: what the warp's
  // rows can see at most.
  template <int kTiles>
  PRAXINO_DEVICE void score_gradients() const {
    const float scale = rsqrt_fast(static_cast<float>(kWidth));
    PRAXINO_NO_UNROLL
    for (int r = 0; r < kLaneRows; ++r) {
      const int offset = lane_row(lane_index(), r) * stride();
      float* p_row = scores(kProbabilities, team_.tile) + offset;
      float* grad_row = scores(kGradients, team_.tile) + offset;
      const uint32_t seen = seen_by(mask_, r);
      LaneScores<kTiles> p, grad;
      softmax<kWidth>(p, p_row, seen);
      store_scores(p_row, p, mask_);
      load_scores(grad, grad_row, seen, 0);
      float delta = 0;
      PRAXINO_UNROLL
      for (int m = 0; m < p.kCount; ++m) delta += p.v[m] * grad.v[m];
      delta = group_sum(delta, kRowLanes);
      PRAXINO_UNROLL
      for (int m = 0; m < p.kCount; ++m) grad.v[m] = p.v[m] * (grad.v[m] - delta) * scale;
      store_scores(grad_row, grad, mask_);
    }
  }

  // The warp's tile as keys: what all queries that see them give. Where query heads share them,
  // what the rounds before gave waits in the result: every lane reads what it wrote itself.
  PRAXINO_DEVICE void columns(const LaneSpot& spot, int round, const LaneScale& scale,
                              GainSums<kWidth>& sums) const {
    const TimeHeads heads = time_heads(p_.in.shape.kv_heads * kWidth, spot.head);
    LaneRows<kWidth> grad = {};
    if (round > 0) grad = load_lanes<kWidth>(p_.grad_v, spot, heads);
    sum_over_queries(grad, kProbabilities, kGrad);
    store_lanes(grad, p_.grad_v, spot, heads);
    grad = {};
    if (round > 0) grad = load_lanes<kWidth>(p_.grad_k, spot, heads);
    sum_over_queries(grad, kGradients, kQ);
    if (normed() && round + 1 == p_.in.shape.group) {
      const TimeHeads raw = time_heads(p_.in.k_token, spot.head);
      norm_backward(grad, {p_.in.k, raw, own_image(kK), scale}, p_.in.keys, spot, sums);
    }
    store_lanes(grad, p_.grad_k, spot, heads);
  }

  // sum += transposed scores times the rows of image `right`.
  PRAXINO_DEVICE void sum_over_queries(LaneRows<kWidth>& sum, Scores left, Image right) const {
    PRAXINO_NO_UNROLL
    for (int tile = team_.tile; tile < team_.tiles; ++tile) {
      if (!p_.in.shape.sees_any(tile, team_.tile)) continue;
      add_weighted<true>(sum,
                         scores(left, tile) + kTimeTile * team_.tile + lane_row(lane_index(), 0),
                         stride(), image(right, tile), paired_rows(p_.in.shape, tile));
    }
  }

  const TimeAttentionBackward<float>& p_;
  TimeTeam team_;
  TimeMask mask_;
};

template <int kWidth>
PRAXINO_KERNEL(32 * kFloatBackwardTiles.most_warps(kWidth), 1)
time_attention_float_backward_kernel(TimeAttentionBackward<float> p) {
  Backward<kWidth>(p).run();
}

}  // namespace

Status launch_time_attention_backward(const TimeAttentionBackward<float>& p, Stream stream) {
  if (!in_range(p.in, p.plan, kFloatBackwardTiles) || !aligned_16(p.grad) ||
      !aligned_16(p.grad_q) || !aligned_16(p.grad_k) || !aligned_16(p.grad_v))
    return kRefused;
  const Status status = launch(
      p.in.shape.width == 64 ? time_attention_float_backward_kernel<64>
                             : time_attention_float_backward_kernel<128>,
      {"time_attention_float_backward", p.plan.blocks, p.plan.threads(), p.plan.shared_bytes}, p,
      stream);
  if (!status.ok() || p.in.queries.gain == nullptr) return status;
  return launch_add_chunks(gain_sums(p), stream);
}

}  // namespace praxino::kernels
