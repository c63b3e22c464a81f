#include "kernels/time_attention.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/time_tiles.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

template <int kWidth, int kTiles>
class Forward {
 public:
  PRAXINO_DEVICE explicit Forward(const TimeAttention<Bf16>& p)
      : p_(p), team_(p.plan), mask_(fragment_mask(p.in.shape, team_.tile)) {}

  PRAXINO_DEVICE void run() const {
    walk(p_.in.shape, p_.plan, team_,
         [&](const TimeCursor& at) { attend(time_spot(p_.in.shape, team_, at)); });
  }

 private:
  enum Image { kK, kV };

  PRAXINO_DEVICE Bf16* image(Image operand) const {
    return reinterpret_cast<Bf16*>(shared_floats()) +
           ((kForwardTiles.images * team_.number + operand) * team_.tiles) * image_size(kWidth);
  }
  PRAXINO_DEVICE Bf16* own_image(Image operand) const {
    return image(operand) + team_.tile * image_size(kWidth);
  }
  PRAXINO_DEVICE TimeHeads heads_of_query(int64_t token, const TimeSpot& spot, int round) const {
    return time_heads(token, spot.head * static_cast<int>(p_.in.shape.group) + round);
  }

  PRAXINO_DEVICE void attend(const TimeSpot& spot) const {
    const TimeInputs<Bf16>& in = p_.in;
    const TimeShape& shape = in.shape;
    const bool normed = in.queries.gain != nullptr;
    TimeRows<kWidth> k = load_rows<kWidth>(in.k, spot, time_heads(in.k_token, spot.head));
    TimeRows<kWidth> q = load_rows<kWidth>(in.q, spot, heads_of_query(in.q_token, spot, 0));
    const TimeRows<kWidth> v = load_rows<kWidth>(in.v, spot, time_heads(in.v_token, spot.head));
    team_.sync();  // the last sequence's images have been read
    store_image<kWidth>(own_image(kV), v);
    if (normed) norm_rotate(k, inverse_rms(k), in.keys, spot);
    store_image<kWidth>(own_image(kK), k);
    team_.sync();
    for (int round = 0;;) {
      if (normed) norm_rotate(q, inverse_rms(q), in.queries, spot);
      store_rows<kWidth>(rounded<kWidth>(result(q)), p_.o, spot,
                         heads_of_query(shape.heads() * kWidth, spot, round));
      if (++round == shape.group) break;
      q = load_rows<kWidth>(in.q, spot, heads_of_query(in.q_token, spot, round));
    }
  }

  struct Result {
    TimeResult<kWidth> rows = {};
    PRAXINO_DEVICE operator const TimeResult<kWidth>&() const { return rows; }
  };
  PRAXINO_DEVICE Result result(const TimeRows<kWidth>& q) const {
    TimeScores<kTiles> scores;
    multiply_rows<kWidth>(scores, q, image(kK), mask_);
    softmax<kWidth>(scores, mask_);
    Result result;
    PRAXINO_UNROLL
    for (int t = 0; t < kTiles; ++t) {
      if (!mask_.sees_tile(t)) continue;
      multiply_columns<kWidth>(result.rows, as_operand(scores + 2 * t), image(kV), kTimeTile * t);
    }
    return result;
  }

  const TimeAttention<Bf16>& p_;
  TimeTeam team_;
  TimeMask mask_;
};

template <int kWidth, int kTiles>
PRAXINO_KERNEL(32 * kForwardTiles.most_warps(kWidth), 1)
time_attention_kernel(TimeAttention<Bf16> p) {
  Forward<kWidth, kTiles>(p).run();
}

}  // namespace

TimeDevice time_device() { return {shared_limit(), multiprocessors()}; }

template <class T>
bool in_range(const TimeInputs<T>& in, const TimePlan& plan, const TimeTiles& tiles) {
  const TimeShape& shape = in.shape;
  if (!in_range(shape)) return false;
  // A plan is what time_plan() makes for one of the limits.
  if (plan.warps == 0 || time_plan(shape, tiles, {plan.shared_bytes, plan.blocks}) != plan)
    return false;
  const auto norm_fits = [&](const TimeNorm& norm) {
    return (norm.gain == nullptr) == (in.queries.gain == nullptr) && aligned_16(norm.gain) &&
           aligned_16(norm.cos) && aligned_16(norm.sin);
  };
  const auto rows_fit = [](const T* rows, int64_t token) {
    return aligned_16(rows) && token % 8 == 0 && token >= 0 && token <= INT32_MAX;
  };
  return norm_fits(in.queries) && norm_fits(in.keys) && rows_fit(in.q, in.q_token) &&
         rows_fit(in.k, in.k_token) && rows_fit(in.v, in.v_token);
}
template bool in_range(const TimeInputs<Bf16>&, const TimePlan&, const TimeTiles&);
template bool in_range(const TimeInputs<float>&, const TimePlan&, const TimeTiles&);

Status launch_time_attention(const TimeAttention<Bf16>& p, Stream stream) {
  if (!in_range(p.in, p.plan, kForwardTiles) || !aligned_16(p.o)) return kRefused;
  const TimeShape& shape = p.in.shape;
  if (shape.all_sequences() == 0) return {};
  const bool few = p.plan.tiles <= kFewTimeTiles;
  const auto kernel = shape.width == 64 ? few ? time_attention_kernel<64, kFewTimeTiles>
                                              : time_attention_kernel<64, kMostTimeTiles>
                      : few ? time_attention_kernel<128, kFewTimeTiles>
                                        : time_attention_kernel<128, kMostTimeTiles>;
  return launch(kernel, {"time_attention", p.plan.blocks, p.plan.threads(), p.plan.shared_bytes}, p,
                stream);
}

}  // namespace praxino::kernels
