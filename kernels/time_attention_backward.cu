#include "kernels/chunk_sums.h"
#include "kernels/device/launch.cuh"
#include "kernels/device/time_tiles.cuh"
#include "kernels/time_attention.h"

namespace praxino::kernels {
namespace {

using namespace device;

// Sums over the 16 rows of 8 values of every lane: 4 columns that lanes with equal lane % 4 share,
// in 2 of the rows of each lane. Every lane ends up with one column, column_of_sum().
PRAXINO_DEVICE float sum_columns(float (&values)[8]) {
  PRAXINO_UNROLL
  for (int count = 4; count > 0; count /= 2) {
    const int distance = 4 * count;
    const bool upper = (lane_index() & distance) != 0;
    PRAXINO_UNROLL
    for (int i = 0; i < count; ++i) {
      const float other = shuffle_xor(upper ? values[i] : values[i + count], distance);
      values[i] = (upper ? values[i + count] : values[i]) + other;
    }
  }
  return values[0];
}

// The two rows of a lane on their way back through norm and rotation.
template <int kWidth>
class NormBackward {
 public:
  static constexpr int kPairs = kWidth / 16;  // results of the first half of a row

  // `raw`: the rows before the norm, which the gradients replace.
  PRAXINO_DEVICE NormBackward(const TimeNorm& norm, Bf16* raw, int row, const TimeSpot (&spots)[2])
      : norm_(norm), raw_(raw), row_(row), spots_(spots) {}

  // grad: of the rotated rows. Adds to the warp's `sums` for the gain, in shared memory.
  PRAXINO_DEVICE void run(FragmentC (&grad)[kWidth / 8], float* sums) {
    float squares[2] = {}, projection[2] = {};
    PRAXINO_UNROLL
    for (int c = 0; c < kWidth / 8; ++c) {
      PRAXINO_UNROLL
      for (int r = 0; r < 2; ++r) {
        const Vector<2> x = raw(c, r);
        squares[r] += x.v[0] * x.v[0] + x.v[1] * x.v[1];
      }
    }
    PRAXINO_UNROLL
    for (int r = 0; r < 2; ++r) inverse_[r] = inverse_rms(group_sum(squares[r], 4), kWidth);
    PRAXINO_UNROLL
    for (int step = 0; step < kWidth / 32; ++step) {
      float values[8] = {};
      scale_pair(grad, 2 * step, values, projection);
      scale_pair(grad, 2 * step + 1, values + 4, projection);
      float* sum = sums + column_of_sum(lane_index(), step, kWidth);
      store(sum, load(sum) + sum_columns(values));
    }
    PRAXINO_UNROLL
    for (int r = 0; r < 2; ++r) projection[r] = group_sum(projection[r], 4) / kWidth;
    PRAXINO_UNROLL
    for (int c = 0; c < kWidth / 8; ++c) {
      PRAXINO_UNROLL
      for (int r = 0; r < 2; ++r) {
        const Vector<2> x = raw(c, r);
        float out[2];
        PRAXINO_UNROLL
        for (int h = 0; h < 2; ++h) {
          const float unit = x.v[h] * inverse_[r];
          out[h] = inverse_[r] * (grad[c].v[2 * r + h] - unit * projection[r]);
        }
        store_word(raw_ + pair_element(row_, c, r, kWidth), pack_bf16(out[0], out[1]));
      }
    }
  }

 private:
  PRAXINO_DEVICE Vector<2> raw(int c, int r) const {
    return unpack_bf16(load_word(raw_ + pair_element(row_, c, r, kWidth)));
  }

  // Results `c` and its partner: turned back, times the gain; values: what the gain's gradient is
  // the sum of.
  PRAXINO_DEVICE void scale_pair(FragmentC (&grad)[kWidth / 8], int c, float* values,
                                 float (&projection)[2]) const {
    const int column = 8 * c + fragment_c(lane_index(), 0).column;
    const Vector<2> gain1 = load_pair(norm_.gain + column);
    const Vector<2> gain2 = load_pair(norm_.gain + column + kWidth / 2);
    PRAXINO_UNROLL
    for (int r = 0; r < 2; ++r) {
      if (!spots_[r].there) continue;  // its gradient is zero
      const int64_t angle = int64_t{spots_[r].position} * (kWidth / 2) + column;
      const Vector<2> cos = load_pair(norm_.cos + angle), sin = load_pair(norm_.sin + angle);
      const Vector<2> x1 = raw(c, r), x2 = raw(c + kPairs, r);
      PRAXINO_UNROLL
      for (int h = 0; h < 2; ++h) {
        float &g1 = grad[c].v[2 * r + h], &g2 = grad[c + kPairs].v[2 * r + h];
        const float a = g1 * cos.v[h] + g2 * sin.v[h], b = g2 * cos.v[h] - g1 * sin.v[h];
        const float unit1 = x1.v[h] * inverse_[r], unit2 = x2.v[h] * inverse_[r];
        values[h] += a * unit1;
        values[2 + h] += b * unit2;
        g1 = a * gain1.v[h];
        g2 = b * gain2.v[h];
        projection[r] += g1 * unit1 + g2 * unit2;
      }
    }
  }

  const TimeNorm& norm_;
  Bf16* raw_;
  int row_;
  const TimeSpot (&spots_)[2];
  float inverse_[2] = {};
};

PRAXINO_HOST_DEVICE inline ChunkSums sums_of(const TimeAttentionBackward& p) {
  return {.results = {p.grad_query_gain, p.grad_key_gain},
          .workspace = p.workspace,
          .sums = 2,
          .shape = time_units(p.in.shape, p.plan)};
}

template <int kWidth>
class Backward {
 public:
  PRAXINO_DEVICE explicit Backward(const TimeAttentionBackward& p)
      : p_(p), items_(p.in.shape, p.plan) {}

  PRAXINO_DEVICE void run() const {
    clear_sums();
    run_items(*this, items_, p_.plan);
    // Chunks without units have a sum, too.
    if (p_.plan.units > 0) return;
    for (int64_t batch = block_index(); batch < p_.in.shape.batch; batch += grid_blocks())
      store_sums(static_cast<int>(batch));
  }

  PRAXINO_DEVICE void load(const TimeItem& item, const TimeStages& stages) const {
    const TimeInputs& in = p_.in;
    copy<kQ>(in.q, query_heads(in.q_token, item), item, stages.queries);
    copy<kGrad>(p_.grad, query_heads(in.shape.heads() * kWidth, item), item, stages.queries);
    if (item.round == 0) {
      copy<kK>(in.k, {in.k_token, 1, 0}, item, stages.keys);
      copy<kV>(in.v, {in.v_token, 1, 0}, item, stages.keys);
    }
    commit_copies();
  }

  PRAXINO_DEVICE void normalize(const TimeItem& item, const TimeStages& stages) const {
    norm_rotate_tile<kWidth>(staged(kQ, stages.queries), single(kReadyQ), p_.in.queries,
                             p_.in.shape, p_.plan, item);
    if (item.round == 0) {
      norm_rotate_tile<kWidth>(staged(kK, stages.keys), single(kReadyK), p_.in.keys, p_.in.shape,
                               p_.plan, item);
    }
  }

  PRAXINO_DEVICE void work(const TimeItem& item, const TimeStages& stages) const {
    const TimeWarp own = time_warp(p_.plan);
    if (own.has_one) rows(own, item, stages);
    sync_block();
    if (own.has_one) columns(own, item, stages);
    if (items_.last_of_chunk(item)) store_sums(item.chunk);
  }

 private:
  enum Staged { kQ, kGrad, kK, kV };
  enum Single { kReadyQ, kReadyK };  // normalized and rotated
  enum Scores { kProbabilities, kGradients };

  PRAXINO_DEVICE Bf16* shared() const { return reinterpret_cast<Bf16*>(shared_floats()); }
  PRAXINO_DEVICE int tile_size() const { return p_.plan.rows() * kWidth; }
  PRAXINO_DEVICE Bf16* staged(Staged operand, int stage) const {
    return shared() + (kBackwardTiles.staged * stage + operand) * tile_size();
  }
  PRAXINO_DEVICE Bf16* single(Single operand) const {
    return staged(kQ, p_.plan.stages) + operand * tile_size();
  }
  PRAXINO_DEVICE Bf16* scores(Scores operand) const {
    return single(kReadyQ) + kBackwardTiles.single * tile_size() +
           operand * p_.plan.rows() * kMostFrames;
  }
  PRAXINO_DEVICE float* sums() const {
    return reinterpret_cast<float*>(scores(kProbabilities) +
                                    kBackwardTiles.scores * p_.plan.rows() * kMostFrames);
  }
  // The warp's sums for the gains: of the queries and of the keys.
  PRAXINO_DEVICE float* own_sums(int which) const {
    return sums() + (2 * warp_index() + which) * kWidth;
  }
  // The lane's results of this round for the next, or those of the last: in shared memory, because
  // registers would have to hold them while the warp works as queries.
  template <bool kStore>
  PRAXINO_DEVICE void keep(FragmentC (&results)[kWidth / 8], int which) const {
    float* kept = sums() + kBackwardTiles.sums * p_.plan.warps * kWidth + which * tile_size();
    PRAXINO_UNROLL
    for (int c = 0; c < kWidth / 8; ++c) {
      float* own = kept + 4 * (c * p_.plan.threads() + thread_index());
      if constexpr (kStore) {
        store_vector(
            own, Vector<4>{{results[c].v[0], results[c].v[1], results[c].v[2], results[c].v[3]}});
      } else {
        const Vector<4> four = load_vector<4>(own);
        results[c] = {{four.v[0], four.v[1], four.v[2], four.v[3]}};
      }
    }
  }
  PRAXINO_DEVICE TimeHeads query_heads(int64_t token, const TimeItem& item) const {
    return {token, static_cast<int>(p_.in.shape.group), item.round};
  }
  template <Staged kOperand>
  PRAXINO_DEVICE void copy(const Bf16* from, const TimeHeads& heads, const TimeItem& item,
                           int stage) const {
    copy_tile<kWidth>(staged(kOperand, stage), from, heads, p_.in.shape, p_.plan, item);
  }
  PRAXINO_DEVICE void store(const Bf16* rows, Bf16* to, const TimeHeads& heads,
                            const TimeItem& item) const {
    store_tile<kWidth>(rows, to, heads, p_.in.shape, p_.plan, item);
  }

  // The warp's tile as queries: probabilities and their gradients for all, and its own gradient.
  PRAXINO_DEVICE void rows(const TimeWarp& own, const TimeItem& item,
                           const TimeStages& stages) const {
    const TimeShape& shape = p_.in.shape;
    const uint32_t visible = visible_tiles(shape, own.tile);
    TimeScores p = {}, grad = {};
    multiply_rows<kWidth>(p, single(kReadyQ), own.row, single(kReadyK), own.first, visible);
    const TimeSums sums = exponentials(p, shape, own.tile, visible, exponent_scale(kWidth));
    multiply_rows<kWidth>(grad, staged(kGrad, stages.queries), own.row, staged(kV, stages.keys),
                          own.first, visible);
    score_gradients(p, grad, sums, visible);
    FragmentC grad_q[kWidth / 8] = {};
    PRAXINO_UNROLL
    for (int t = 0; t < kMostTimeTiles; ++t) {
      if ((visible >> t & 1U) == 0) continue;
      const FragmentC *pair = p + 2 * t, *grad_pair = grad + 2 * t;
      store_scores(kProbabilities, own.row, t, pair);
      store_scores(kGradients, own.row, t, grad_pair);
      multiply_columns<kWidth>(grad_q, as_operand(grad_pair), single(kReadyK),
                               own.first + kTimeTile * t);
    }
    Bf16* raw = staged(kQ, stages.queries);
    unnormalize(own, item, p_.in.queries, raw, grad_q, own_sums(0));
    store(raw, p_.grad_q, query_heads(shape.heads() * kWidth, item), item);
  }

  // Exponentials become probabilities; gradients of those become gradients of the scores.
  PRAXINO_DEVICE void score_gradients(TimeScores& p, TimeScores& grad, const TimeSums& sums,
                                      uint32_t visible) const {
    const float inverse[2] = {reciprocal_fast(sums.of[0]), reciprocal_fast(sums.of[1])};
    const float scale = rsqrt_fast(static_cast<float>(kWidth));
    float delta[2] = {};
    PRAXINO_UNROLL
    for (int c = 0; c < 2 * kMostTimeTiles; ++c) {
      if ((visible >> (c / 2) & 1U) == 0) continue;
      PRAXINO_UNROLL
      for (int i = 0; i < 4; ++i) {
        p[c].v[i] *= inverse[i / 2];
        delta[i / 2] += p[c].v[i] * grad[c].v[i];
      }
    }
    PRAXINO_UNROLL
    for (int r = 0; r < 2; ++r) delta[r] = group_sum(delta[r], 4);
    PRAXINO_UNROLL
    for (int c = 0; c < 2 * kMostTimeTiles; ++c) {
      if ((visible >> (c / 2) & 1U) == 0) continue;
      PRAXINO_UNROLL
      for (int i = 0; i < 4; ++i) grad[c].v[i] = p[c].v[i] * (grad[c].v[i] - delta[i / 2]) * scale;
    }
  }

  PRAXINO_DEVICE void store_scores(Scores operand, int row, int tile, const FragmentC* pair) const {
    PRAXINO_UNROLL
    for (int c = 0; c < 2; ++c) {
      PRAXINO_UNROLL
      for (int r = 0; r < 2; ++r) {
        store_word(scores(operand) + pair_element(row, 2 * tile + c, r, kMostFrames),
                   pack_bf16(pair[c].v[2 * r], pair[c].v[2 * r + 1]));
      }
    }
  }

  // The warp's tile as keys: what all queries that see them give. Values first, then keys: both at
  // once do not fit the registers.
  PRAXINO_DEVICE void columns(const TimeWarp& own, const TimeItem& item,
                              const TimeStages& stages) const {
    const TimeHeads heads = {p_.in.shape.kv_heads * kWidth, 1, 0};
    FragmentC grad[kWidth / 8];
    if (sum_over_queries(own, item, kProbabilities, staged(kGrad, stages.queries), grad)) {
      Bf16* v = staged(kV, stages.keys);
      store_results(v, kWidth, own.row, grad);
      sync_warp();
      store(v, p_.grad_v, heads, item);
    }
    if (sum_over_queries(own, item, kGradients, single(kReadyQ), grad)) {
      Bf16* raw = staged(kK, stages.keys);
      unnormalize(own, item, p_.in.keys, raw, grad, own_sums(1));
      store(raw, p_.grad_k, heads, item);
    }
  }

  // sum: transposed scores times the rows of `right`, over this round and those before it. True at
  // the last round.
  PRAXINO_DEVICE bool sum_over_queries(const TimeWarp& own, const TimeItem& item, Scores left,
                                       const Bf16* right, FragmentC (&sum)[kWidth / 8]) const {
    PRAXINO_UNROLL
    for (int c = 0; c < kWidth / 8; ++c) sum[c] = {};
    if (item.round > 0) keep<false>(sum, left);
    const FragmentSpot by_b = matrix_row_of_b(lane_index());
    for (int t = own.tile; t < p_.plan.tiles; ++t) {
      if (!p_.in.shape.sees_any(t, own.tile)) continue;
      const int row = own.first + kTimeTile * t, column = kTimeTile * own.tile;
      multiply_columns<kWidth>(sum, load_part<true>(scores(left), kMostFrames, row, column, by_b),
                               right, row);
    }
    const bool last = items_.last_of_unit(item);
    if (!last) keep<true>(sum, left);
    return last;
  }

  PRAXINO_DEVICE void unnormalize(const TimeWarp& own, const TimeItem& item, const TimeNorm& norm,
                                  Bf16* raw, FragmentC (&grad)[kWidth / 8], float* sums) const {
    TimeSpot spots[2];
    PRAXINO_UNROLL
    for (int r = 0; r < 2; ++r) {
      const int row = own.row + fragment_c(lane_index(), 2 * r).row;
      spots[r] = time_spot(p_.in.shape, p_.plan, item, row);
    }
    NormBackward<kWidth>(norm, raw, own.row, spots).run(grad, sums);
    sync_warp();  // rows are stored as they lie in memory, by other lanes
  }

  // Of a chunk: warp by warp, in their order.
  PRAXINO_DEVICE void store_sums(int chunk) const {
    sync_block();
    for (int i = thread_index(); i < 2 * kWidth; i += p_.plan.threads()) {
      float sum = 0;
      for (int warp = 0; warp < p_.plan.warps; ++warp)
        sum += device::load(sums() + 2 * warp * kWidth + i);
      const int which = i / kWidth;
      device::store(chunk_row(sums_of(p_), chunk, which) + i - which * kWidth, sum);
    }
    sync_block();
    clear_sums();
  }

  // Each lane those that it adds to.
  PRAXINO_DEVICE void clear_sums() const {
    PRAXINO_UNROLL
    for (int step = 0; step < kWidth / 32; ++step) {
      const int column = column_of_sum(lane_index(), step, kWidth);
      device::store(own_sums(0) + column, 0);
      device::store(own_sums(1) + column, 0);
    }
  }

  const TimeAttentionBackward& p_;
  TimeItems items_;
};

template <int kWidth>
PRAXINO_KERNEL(32 * most_time_warps(kWidth), 1)
time_attention_backward_kernel(TimeAttentionBackward p) {
  Backward<kWidth>(p).run();
}

}  // namespace

Status launch_time_attention_backward(const TimeAttentionBackward& p, Stream stream) {
  if (!in_range(p.in, p.plan, kBackwardTiles) || !aligned_16(p.grad) || !aligned_16(p.grad_q) ||
      !aligned_16(p.grad_k) || !aligned_16(p.grad_v))
    return kRefused;
  const ChunkSums sums = sums_of(p);
  const int64_t chunks = all_chunks(sums.shape);
  if (chunks == 0) return {};
  const Status status =
      launch(p.in.shape.width == 64 ? time_attention_backward_kernel<64>
                                    : time_attention_backward_kernel<128>,
             {"time_attention_backward", blocks_for(chunks), p.plan.threads(), p.plan.shared_bytes},
             p, stream);
  return status.ok() ? launch_add_chunks(sums, stream) : status;
}

}  // namespace praxino::kernels
