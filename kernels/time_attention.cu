#include "kernels/time_attention.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/time_tiles.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

template <int kWidth>
class Forward {
 public:
  PRAXINO_DEVICE explicit Forward(const TimeAttention& p) : p_(p), items_(p.in.shape, p.plan) {}

  PRAXINO_DEVICE void run() { run_items(*this, items_, p_.plan); }

  PRAXINO_DEVICE void load(const TimeItem& item, const TimeStages& stages) const {
    const TimeInputs& in = p_.in;
    copy_tile<kWidth>(tile(kQ, stages.queries), in.q, query_heads(in.q_token, item), in.shape,
                      p_.plan, item);
    if (item.round == 0) {
      copy_tile<kWidth>(tile(kK, stages.keys), in.k, {in.k_token, 1, 0}, in.shape, p_.plan, item);
      copy_tile<kWidth>(tile(kV, stages.keys), in.v, {in.v_token, 1, 0}, in.shape, p_.plan, item);
    }
    commit_copies();
  }

  PRAXINO_DEVICE void normalize(const TimeItem& item, const TimeStages& stages) const {
    normalize_rows(tile(kQ, stages.queries), p_.in.queries, item);
    if (item.round == 0) normalize_rows(tile(kK, stages.keys), p_.in.keys, item);
  }

  // The warp's own 16 queries; the result takes their place.
  PRAXINO_DEVICE void work(const TimeItem& item, const TimeStages& stages) const {
    const TimeShape& shape = p_.in.shape;
    const TimeWarp own = time_warp(p_.plan);
    if (!own.has_one) return;
    Bf16* q = tile(kQ, stages.queries);
    const uint32_t visible = visible_tiles(shape, own.tile);
    TimeScores scores = {};
    multiply_rows<kWidth>(scores, q, own.row, tile(kK, stages.keys), own.first, visible);
    const TimeSums sums = exponentials(scores, shape, own.tile, visible, exponent_scale(kWidth));
    FragmentC result[kWidth / 8] = {};
    PRAXINO_UNROLL
    for (int t = 0; t < kMostTimeTiles; ++t) {
      if ((visible >> t & 1U) == 0) continue;
      multiply_columns<kWidth>(result, as_operand(scores + 2 * t), tile(kV, stages.keys),
                               own.first + kTimeTile * t);
    }
    const float inverse[2] = {reciprocal_fast(sums.of[0]), reciprocal_fast(sums.of[1])};
    PRAXINO_UNROLL
    for (int c = 0; c < kWidth / 8; ++c) {
      PRAXINO_UNROLL
      for (int i = 0; i < 4; ++i) result[c].v[i] *= inverse[i / 2];
    }
    sync_warp();  // other lanes have read the queries
    store_results(q, kWidth, own.row, result);
    sync_warp();
    store_tile<kWidth>(q, p_.o, query_heads(shape.heads() * kWidth, item), shape, p_.plan, item);
  }

 private:
  enum Operand { kQ, kK, kV };

  PRAXINO_DEVICE Bf16* tile(Operand operand, int stage) const {
    return reinterpret_cast<Bf16*>(shared_floats()) +
           (kForwardTiles.staged * stage + operand) * p_.plan.rows() * kWidth;
  }
  PRAXINO_DEVICE TimeHeads query_heads(int64_t token, const TimeItem& item) const {
    return {token, static_cast<int>(p_.in.shape.group), item.round};
  }

  PRAXINO_DEVICE void normalize_rows(Bf16* rows, const TimeNorm& norm, const TimeItem& item) const {
    norm_rotate_tile<kWidth>(rows, rows, norm, p_.in.shape, p_.plan, item);
  }

  const TimeAttention& p_;
  TimeItems items_;
};

template <int kWidth>
PRAXINO_KERNEL(32 * most_time_warps(kWidth), 2)
time_attention_kernel(TimeAttention p) {
  Forward<kWidth>(p).run();
}

bool served(const TimeAttention& p) {
  const TimeInputs& in = p.in;
  return in_range(in, p.plan, kForwardTiles) && aligned_16(p.o);
}

}  // namespace

size_t device_shared_limit() { return shared_limit(); }

bool in_range(const TimeInputs& in, const TimePlan& plan, const TimeTiles& tiles) {
  const TimeShape& shape = in.shape;
  if (!in_range(shape)) return false;
  // A plan is what time_plan() makes for one of the limits.
  const TimePlan made = time_plan(shape, tiles, plan.shared_bytes);
  if (made.warps == 0 || made.warps != plan.warps || made.stages != plan.stages) return false;
  if (made.units != plan.units || made.chunk != plan.chunk) return false;
  for (const TimeNorm& norm : {in.queries, in.keys}) {
    if (!aligned_16(norm.gain) || !aligned_16(norm.cos) || !aligned_16(norm.sin)) return false;
  }
  for (const int64_t token : {in.q_token, in.k_token, in.v_token}) {
    if (token % 8 != 0) return false;
  }
  return aligned_16(in.q) && aligned_16(in.k) && aligned_16(in.v);
}

Status launch_time_attention(const TimeAttention& p, Stream stream) {
  if (!served(p)) return kRefused;
  const FrameRows units = time_units(p.in.shape, p.plan);
  if (units.rows() == 0) return {};
  return launch(
      p.in.shape.width == 64 ? time_attention_kernel<64> : time_attention_kernel<128>,
      {"time_attention", blocks_for(all_chunks(units)), p.plan.threads(), p.plan.shared_bytes}, p,
      stream);
}

}  // namespace praxino::kernels
