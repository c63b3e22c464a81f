#include "kernels/device/launch.cuh"
#include "kernels/device/time_lanes.cuh"
#include "kernels/time_attention.h"

namespace praxino::kernels {
namespace {

using namespace device;

template <int kWidth>
class Forward {
 public:
  PRAXINO_DEVICE explicit Forward(const TimeAttention<float>& p)
      : p_(p), team_(p.plan), mask_(lane_mask(p.in.shape, team_.tile)) {}

  PRAXINO_DEVICE void run() const {
    walk(p_.in.shape, p_.plan, team_,
         [&](const TimeCursor& at) { attend(lane_spot(p_.in.shape, team_, at)); });
  }

 private:
  enum Image { kK, kV };

  // Shared memory: images of all warps, by team; then scores.
  PRAXINO_DEVICE float* image(Image operand, int tile) const {
    const int number = (kFloatForwardTiles.images * team_.number + operand) * team_.tiles + tile;
    return shared_floats() + number * kTimeTile * kWidth;
  }
  PRAXINO_DEVICE int stride() const { return score_stride(kTimeTile * team_.tiles); }
  PRAXINO_DEVICE float* scores() const {
    return shared_floats() + kTimeTile * (kFloatForwardTiles.images * p_.plan.warps * kWidth +
                                          warp_index() * stride());
  }

  PRAXINO_DEVICE void attend(const LaneSpot& spot) const {
    const TimeInputs<float>& in = p_.in;
    const int group = static_cast<int>(in.shape.group);
    LaneRows<kWidth> k = load_lanes<kWidth>(in.k, spot, time_heads(in.k_token, spot.head));
    team_.sync();  // the last sequence's images have been read
    copy_lanes_async<kWidth>(image(kV, team_.tile), in.v, spot, time_heads(in.v_token, spot.head));
    commit_copies();
    if (normed()) norm_rotate(k, in.keys, spot);
    store_image(image(kK, team_.tile), k);
    wait_copies<0>();
    team_.sync();
    for (int round = 0; round < group; ++round) {
      const int head = spot.head * group + round;
      LaneRows<kWidth> q = load_lanes<kWidth>(in.q, spot, time_heads(in.q_token, head));
      if (normed()) norm_rotate(q, in.queries, spot);
      store_lanes(result(q), p_.o, spot, time_heads(in.shape.heads() * kWidth, head));
    }
  }
  PRAXINO_DEVICE bool normed() const { return p_.in.queries.gain != nullptr; }

  PRAXINO_DEVICE LaneRows<kWidth> result(const LaneRows<kWidth>& q) const {
    sync_warp();  // the last round's scores have been read
    PRAXINO_NO_UNROLL
    for (int tile = 0; tile <= team_.tile; ++tile) {
      if (!mask_.sees_tile(tile)) continue;
      multiply_rows(scores() + kTimeTile * tile, stride(), q, image(kK, tile),
                    paired_rows(p_.in.shape, tile));
    }
    sync_warp();
    if (team_.tile == 0) {
      probabilities<1>();
    } else {
      probabilities<kMostTimeTiles>();
    }
    sync_warp();
    LaneRows<kWidth> sum = {};
    const float* own = scores() + lane_row(lane_index(), 0) * stride();
    PRAXINO_NO_UNROLL
    for (int tile = 0; tile <= team_.tile; ++tile) {
      if (!mask_.sees_tile(tile)) continue;
      add_weighted<false>(sum, own + kTimeTile * tile, stride(), image(kV, tile),
                          paired_rows(p_.in.shape, tile));
    }
    return sum;
  }

  // kTiles: what the warp's rows can see at most.
  template <int kTiles>
  PRAXINO_DEVICE void probabilities() const {
    PRAXINO_NO_UNROLL
    for (int r = 0; r < kLaneRows; ++r) {
      LaneScores<kTiles> p;
      float* row = scores() + lane_row(lane_index(), r) * stride();
      softmax<kWidth>(p, row, seen_by(mask_, r));
      store_scores(row, p, mask_);
    }
  }

  const TimeAttention<float>& p_;
  TimeTeam team_;
  TimeMask mask_;
};

template <int kWidth>
PRAXINO_KERNEL(32 * kFloatForwardTiles.most_warps(kWidth), 1)
time_attention_float_kernel(TimeAttention<float> p) {
  Forward<kWidth>(p).run();
}

}  // namespace

Status launch_time_attention(const TimeAttention<float>& p, Stream stream) {
  if (!in_range(p.in, p.plan, kFloatForwardTiles) || !aligned_16(p.o)) return kRefused;
  if (p.in.shape.all_sequences() == 0) return {};
  return launch(
      p.in.shape.width == 64 ? time_attention_float_kernel<64> : time_attention_float_kernel<128>,
      {"time_attention_float", p.plan.blocks, p.plan.threads(), p.plan.shared_bytes}, p, stream);
}

}  // namespace praxino::kernels
