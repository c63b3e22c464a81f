#include "kernels/device/launch.cuh"
#include "kernels/device/time_tiles.cuh"
#include "kernels/time_attention.h"

namespace praxino::kernels {
namespace {

using namespace device;

// The rows of a warp on their way back through rotation and norm.
template <int kWidth>
class NormBackward {
 public:
  // `raw`: the rows before the norm.
  PRAXINO_DEVICE NormBackward(const TimeNorm& norm, const TimeRows<kWidth>& raw,
                              const TimeScale& scale, const TimeSpot& spot)
      : norm_(norm), raw_(raw), scale_(scale), spot_(spot) {}

  // grad: of the rotated rows, then of the raw ones. Adds to the warp's `sums` for the gain, in
  // shared memory.
  PRAXINO_DEVICE void run(TimeResult<kWidth>& grad, float* sums) const {
    float projection[2] = {};
    PRAXINO_UNROLL
    for (int h = 0; h < kWidth / 64; ++h) {
      if (h > 0) sync_warp();  // else all tables wait in registers at once
      const TimeGains<8> gains = load_gains<kWidth>(norm_, h);
      float first[8] = {}, second[8] = {};
      PRAXINO_UNROLL
      for (int r = 0; r < 2; ++r) rotate_back(grad, h, r, gains, first, second, projection[r]);
      float* sum = sums + column_of_sum(lane_index(), h);
      store(sum, load(sum) + spread_sums<4>(first));
      store(sum + kWidth / 2, load(sum + kWidth / 2) + spread_sums<4>(second));
    }
    PRAXINO_UNROLL
    for (int r = 0; r < 2; ++r) {
      const float along = group_sum(projection[r], 4) * (scale_.of[r] * scale_.of[r] / kWidth);
      PRAXINO_UNROLL
      for (int w = 0; w < kWidth / 8; ++w) {
        const Vector<2> x = unpack_bf16(raw_.word[r][w]);
        PRAXINO_UNROLL
        for (int i = 0; i < 2; ++i) {
          grad[w].v[2 * r + i] -= x.v[i] * along;
        }
      }
    }
  }

 private:
  // Words 4 h .. of row r and those half a row on: turned back, times gain and 1 / RMS. Adds what
  // the gain's gradient is the sum of, and gradient times raw row.
  PRAXINO_DEVICE void rotate_back(TimeResult<kWidth>& grad, int h, int r, const TimeGains<8>& gains,
                                  float (&first)[8], float (&second)[8], float& projection) const {
    constexpr int kHalf = kWidth / 16;
    const TimeAngles<8> angles = load_angles<kWidth>(norm_, spot_.position[r], h);
    PRAXINO_UNROLL
    for (int w = 0; w < 4; ++w) {
      const Vector<2> x1 = unpack_bf16(raw_.word[r][4 * h + w]);
      const Vector<2> x2 = unpack_bf16(raw_.word[r][4 * h + w + kHalf]);
      PRAXINO_UNROLL
      for (int i = 0; i < 2; ++i) {
        const int e = 2 * w + i;
        float &g1 = grad[4 * h + w].v[2 * r + i], &g2 = grad[4 * h + w + kHalf].v[2 * r + i];
        const float cos = angles.cos.v[e] * scale_.of[r], sin = angles.sin.v[e] * scale_.of[r];
        const float a = g1 * cos + g2 * sin, b = g2 * cos - g1 * sin;
        first[e] += a * x1.v[i];
        second[e] += b * x2.v[i];
        g1 = a * gains.first.v[e];
        g2 = b * gains.second.v[e];
        projection += g1 * x1.v[i] + g2 * x2.v[i];
      }
    }
  }

  const TimeNorm& norm_;
  const TimeRows<kWidth>& raw_;
  const TimeScale scale_;
  const TimeSpot& spot_;
};

template <int kWidth, int kTiles>
class Backward {
 public:
  PRAXINO_DEVICE explicit Backward(const TimeAttentionBackward<Bf16>& p)
      : p_(p), team_(p.plan), mask_(fragment_mask(p.in.shape, team_.tile)) {}

  PRAXINO_DEVICE void run() const {
    if (normed()) clear_sums();
    walk(p_.in.shape, p_.plan, team_,
         [&](const TimeCursor& at) { work(time_spot(p_.in.shape, team_, at)); });
    if (normed()) store_gain_sums<kWidth>(p_, team_, own_sums(), kBackwardTiles.sums * kWidth);
  }

 private:
  enum Image { kQ, kGrad, kK, kV };
  enum Scores { kProbabilities, kGradients };

  PRAXINO_DEVICE bool normed() const { return p_.in.queries.gain != nullptr; }

  // Shared memory: images of all warps, by team; then scores; then sums; then what is kept.
  PRAXINO_DEVICE Bf16* image(Image operand) const {
    return reinterpret_cast<Bf16*>(shared_floats()) +
           ((kBackwardTiles.images * team_.number + operand) * team_.tiles) * image_size(kWidth);
  }
  PRAXINO_DEVICE Bf16* own_image(Image operand) const {
    return image(operand) + team_.tile * image_size(kWidth);
  }
  PRAXINO_DEVICE int score_columns() const { return kTimeTile * team_.tiles; }
  PRAXINO_DEVICE Bf16* scores(Scores operand) const {
    return reinterpret_cast<Bf16*>(shared_floats()) +
           p_.plan.warps * kBackwardTiles.images * image_size(kWidth) +
           ((kBackwardTiles.scores * team_.number + operand) * team_.tiles) *
               image_size(score_columns());
  }
  // 1 / RMS is kept where registers allow, else it is computed again.
  static constexpr bool kKeepsScales = kTiles == kFewTimeTiles;
  // Rows as they came: of keys, and of queries where there is room. Else queries stay in registers,
  // or, where not even those are enough, come from the second-level cache again.
  static constexpr bool kKeepsQueries = kBackwardTiles.raw(kWidth) == 2;
  static constexpr bool kLoadsQueriesAgain = !kKeepsQueries && kTiles != kFewTimeTiles;
  PRAXINO_DEVICE Bf16* raw_rows(int which) const {
    return reinterpret_cast<Bf16*>(shared_floats()) +
           p_.plan.warps *
               (kBackwardTiles.images * image_size(kWidth) +
                kBackwardTiles.scores * image_size(score_columns()) + which * kTimeTile * kWidth);
  }
  // The warp's, of queries and of keys.
  PRAXINO_DEVICE float* own_sums() const {
    return sums() + (team_.number * team_.tiles + team_.tile) * kBackwardTiles.sums * kWidth;
  }
  PRAXINO_DEVICE float* sums() const {
    return reinterpret_cast<float*>(raw_rows(kBackwardTiles.raw(kWidth)));
  }
  PRAXINO_DEVICE TimeHeads heads_of_query(int64_t token, const TimeSpot& spot, int round) const {
    return time_heads(token, spot.head * static_cast<int>(p_.in.shape.group) + round);
  }

  PRAXINO_DEVICE TimeRows<kWidth> load_queries(const TimeSpot& spot, int round) const {
    return load_rows<kWidth>(p_.in.q, spot, heads_of_query(p_.in.q_token, spot, round));
  }

  PRAXINO_DEVICE void work(const TimeSpot& spot) const {
    const TimeInputs<Bf16>& in = p_.in;
    const int64_t contiguous = in.shape.heads() * kWidth;
    TimeRows<kWidth> k = load_rows<kWidth>(in.k, spot, time_heads(in.k_token, spot.head));
    TimeRows<kWidth> q;
    if constexpr (!kLoadsQueriesAgain) q = load_queries(spot, 0);
    {
      const TimeRows<kWidth> v = load_rows<kWidth>(in.v, spot, time_heads(in.v_token, spot.head));
      const TimeRows<kWidth> grad =
          load_rows<kWidth>(p_.grad, spot, heads_of_query(contiguous, spot, 0));
      team_.sync();  // the last sequence's images have been read
      store_image<kWidth>(own_image(kV), v);
      store_image<kWidth>(own_image(kGrad), grad);
    }
    TimeScale k_scale = {}, q_scale = {};
    if (normed()) {
      keep_raw<true>(k, 0);
      k_scale = inverse_rms(k);
      norm_rotate(k, k_scale, in.keys, spot);
    }
    store_image<kWidth>(own_image(kK), k);
    if constexpr (kLoadsQueriesAgain) q = load_queries(spot, 0);
    for (int round = 0;; ++round) {
      TimeRows<kWidth> ready = q;
      if (normed()) {
        if constexpr (kKeepsQueries) keep_raw<true>(q, 1);
        q_scale = inverse_rms(q);
        norm_rotate(ready, q_scale, in.queries, spot);
      }
      store_image<kWidth>(own_image(kQ), ready);
      team_.sync();
      rows(q, q_scale, spot, round);
      team_.sync();  // all scores are there
      columns(k_scale, spot, round);
      if (round + 1 == in.shape.group) break;
      q = load_queries(spot, round + 1);
      const TimeRows<kWidth> grad =
          load_rows<kWidth>(p_.grad, spot, heads_of_query(contiguous, spot, round + 1));
      team_.sync();  // the images of this round have been read
      store_image<kWidth>(own_image(kGrad), grad);
    }
  }

  // The warp's tile as queries: probabilities and their gradients for all, and its own gradient.
  PRAXINO_DEVICE void rows(TimeRows<kWidth>& raw, const TimeScale& scale, const TimeSpot& spot,
                           int round) const {
    FragmentA p[kTiles];
    {
      TimeScores<kTiles> scores;
      multiply_rows<kWidth>(scores, own_image(kQ), image(kK), mask_);
      softmax<kWidth>(scores, mask_);
      PRAXINO_UNROLL
      for (int t = 0; t < kTiles; ++t) {
        p[t] = as_operand(scores + 2 * t);
        if (mask_.sees_tile(t)) store_scores(kProbabilities, t, p[t]);
      }
    }
    TimeScores<kTiles> grad_p;
    multiply_rows<kWidth>(grad_p, own_image(kGrad), image(kV), mask_);
    score_gradients(p, grad_p);
    TimeResult<kWidth> grad_q = {};
    PRAXINO_UNROLL
    for (int t = 0; t < kTiles; ++t) {
      if (!mask_.sees_tile(t)) continue;
      const FragmentA gradients = as_operand(grad_p + 2 * t);
      store_scores(kGradients, t, gradients);
      multiply_columns<kWidth>(grad_q, gradients, image(kK), kTimeTile * t);
    }
    if (normed()) {
      if constexpr (kKeepsQueries) keep_raw<false>(raw, 1);
      if constexpr (kLoadsQueriesAgain) raw = load_queries(spot, round);
      NormBackward<kWidth>(p_.in.queries, raw, kKeepsScales ? scale : inverse_rms(raw), spot)
          .run(grad_q, own_sums());
    }
    store_rows<kWidth>(rounded<kWidth>(grad_q), p_.grad_q, spot,
                       heads_of_query(p_.in.shape.heads() * kWidth, spot, round));
  }

  // Gradients of probabilities become gradients of the scores. The probabilities are rounded, as
  // the gradient of values takes them: half the registers.
  PRAXINO_DEVICE void score_gradients(const FragmentA (&p)[kTiles],
                                      TimeScores<kTiles>& grad) const {
    const float scale = rsqrt_fast(static_cast<float>(kWidth));
    float delta[2] = {};
    PRAXINO_UNROLL
    for (int word = 0; word < 4 * kTiles; ++word) {
      if (!mask_.sees_tile(word / 4)) continue;
      const Vector<2> two = unpack_bf16(p[word / 4].word[word % 4]);
      const float* g = grad[word / 2].v + 2 * (word % 2);
      delta[word % 2] += two.v[0] * g[0] + two.v[1] * g[1];
    }
    PRAXINO_UNROLL
    for (int r = 0; r < 2; ++r) delta[r] = scale * group_sum(delta[r], 4);
    PRAXINO_UNROLL
    for (int word = 0; word < 4 * kTiles; ++word) {
      if (!mask_.sees_tile(word / 4)) continue;
      const Vector<2> two = unpack_bf16(p[word / 4].word[word % 4]);
      float* g = grad[word / 2].v + 2 * (word % 2);
      PRAXINO_UNROLL
      for (int i = 0; i < 2; ++i) g[i] = two.v[i] * (g[i] * scale - delta[word % 2]);
    }
  }

  // The warp's scores for tile `tile` of keys.
  PRAXINO_DEVICE void store_scores(Scores operand, int tile, const FragmentA& a) const {
    Bf16* own = scores(operand) + team_.tile * image_size(score_columns());
    PRAXINO_UNROLL
    for (int w = 0; w < 4; ++w) {
      store_word(own + image_element(lane_index(), 2 * tile + w / 2, w % 2, score_columns()),
                 a.word[w]);
    }
  }

  // The warp's tile as keys: what all queries that see them give. Values first, then keys: both at
  // once do not fit the registers.
  PRAXINO_DEVICE void columns(const TimeScale& scale, const TimeSpot& spot, int round) const {
    const TimeHeads heads = time_heads(p_.in.shape.kv_heads * kWidth, spot.head);
    const bool last = round + 1 == p_.in.shape.group;
    {
      TimeResult<kWidth> grad = {};
      sum_over_queries(grad, kProbabilities, image(kGrad), round);
      if (last) store_rows<kWidth>(rounded<kWidth>(grad), p_.grad_v, spot, heads);
    }
    TimeResult<kWidth> grad = {};
    sum_over_queries(grad, kGradients, image(kQ), round);
    if (!last) return;
    if (normed()) {
      TimeRows<kWidth> raw;
      keep_raw<false>(raw, 0);
      NormBackward<kWidth>(p_.in.keys, raw, kKeepsScales ? scale : inverse_rms(raw), spot)
          .run(grad, own_sums() + kWidth);
    }
    store_rows<kWidth>(rounded<kWidth>(grad), p_.grad_k, spot, heads);
  }

  // sum: transposed scores times the rows of `right`, over this round and those before it.
  PRAXINO_DEVICE void sum_over_queries(TimeResult<kWidth>& sum, Scores left, const Bf16* right,
                                       int round) const {
    if (round > 0) keep<false>(sum, left);
    const FragmentSpot by_b = matrix_row_of_b(lane_index());
    PRAXINO_NO_UNROLL
    for (int t = team_.tile; t < team_.tiles; ++t) {
      if (!p_.in.shape.sees_any(t, team_.tile)) continue;
      const int row = kTimeTile * t, column = kTimeTile * team_.tile;
      multiply_columns<kWidth>(
          sum, load_part<true>(scores(left), score_columns(), row, column, by_b), right, row);
    }
    if (round + 1 < p_.in.shape.group) keep<true>(sum, left);
  }

  // The lane's results of this round for the next, or those of the last: in shared memory, because
  // registers would have to hold them while the warp works as queries.
  template <bool kStore>
  PRAXINO_DEVICE void keep(TimeResult<kWidth>& results, int which) const {
    float* kept = sums() + p_.plan.warps * kBackwardTiles.sums * kWidth +
                  which * p_.plan.warps * kTimeTile * kWidth;
    PRAXINO_UNROLL
    for (int w = 0; w < kWidth / 8; ++w) {
      float* own = kept + 4 * (w * p_.plan.threads() + thread_index());
      if constexpr (kStore) {
        const float* v = results[w].v;
        store_vector(own, Vector<4>{{v[0], v[1], v[2], v[3]}});
      } else {
        const Vector<4> four = load_vector<4>(own);
        results[w] = {{four.v[0], four.v[1], four.v[2], four.v[3]}};
      }
    }
  }

  // The lane's rows of keys before the norm, while the warp works as queries: in shared memory for
  // the same reason.
  template <bool kStore>
  PRAXINO_DEVICE void keep_raw(TimeRows<kWidth>& rows, int which) const {
    PRAXINO_UNROLL
    for (int i = 0; i < kWidth / 16; ++i) {
      Bf16* own = raw_rows(which) + 8 * (i * p_.plan.threads() + thread_index());
      uint32_t* w = rows.word[i % 2] + i / 2 * 4;
      if constexpr (kStore) {
        store_words(own, Words{{w[0], w[1], w[2], w[3]}}, PRAXINO_HERE);
      } else {
        const Words words = load_words(own, PRAXINO_HERE);
        PRAXINO_UNROLL
        for (int j = 0; j < 4; ++j) w[j] = words.word[j];
      }
    }
  }

  // Each lane those that it adds to.
  PRAXINO_DEVICE void clear_sums() const {
    PRAXINO_UNROLL
    for (int step = 0; step < kWidth / 32; ++step) {
      const int column = column_of_sum(lane_index(), step);
      store(own_sums() + column, 0.0F);
      store(own_sums() + kWidth + column, 0.0F);
    }
  }

  const TimeAttentionBackward<Bf16>& p_;
  TimeTeam team_;
  TimeMask mask_;
};

template <int kWidth, int kTiles>
PRAXINO_KERNEL(32 * kBackwardTiles.most_warps(kWidth), 1)
time_attention_backward_kernel(TimeAttentionBackward<Bf16> p) {
  Backward<kWidth, kTiles>(p).run();
}

}  // namespace

Status launch_time_attention_backward(const TimeAttentionBackward<Bf16>& p, Stream stream) {
  if (!in_range(p.in, p.plan, kBackwardTiles) || !aligned_16(p.grad) || !aligned_16(p.grad_q) ||
      !aligned_16(p.grad_k) || !aligned_16(p.grad_v))
    return kRefused;
  const bool few = p.plan.tiles <= kFewTimeTiles;
  const auto kernel = p.in.shape.width == 64
                          ? few ? time_attention_backward_kernel<64, kFewTimeTiles>
                                : time_attention_backward_kernel<64, kMostTimeTiles>
                      : few ? time_attention_backward_kernel<128, kFewTimeTiles>
                            : time_attention_backward_kernel<128, kMostTimeTiles>;
  const Status status = launch(
      kernel, {"time_attention_backward", p.plan.blocks, p.plan.threads(), p.plan.shared_bytes}, p,
      stream);
  if (!status.ok() || p.in.queries.gain == nullptr) return status;
  return launch_add_chunks(gain_sums(p), stream);
}

}  // namespace praxino::kernels
