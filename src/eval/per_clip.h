#pragma once
// What one evaluation measures on every clip, before it becomes means and intervals.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "praxino/eval/evaluate.h"
#include "praxino/model/world_model.h"
#include "praxino/rollout/clips.h"
#include "praxino/rollout/world.h"

namespace praxino {

/// Name of a figure -> its value for each clip.
using PerClip = std::map<std::string, std::vector<double>>;

/// The clips by which actions can be judged, of all: those whose imagined frames all have known
/// ones. Empty where there are fewer than two, for then there is nobody to borrow other actions
/// from.
std::vector<int64_t> judged_clips(const World& world, const Clips& clips);

/// For each of `clips` clips the one whose actions it borrows: among those of `judged` another one,
/// each lending once, the others from themselves. A function of the seed.
std::vector<int64_t> borrowed_from(int64_t clips, const std::vector<int64_t>& judged,
                                   uint64_t seed);

/// Frames ahead that get a figure of their own: 1, 2, 4, ... and the horizon.
std::vector<int64_t> measured_horizons(int64_t horizon);

/// Of the own clips.
struct RolloutFigures {
  at::Tensor dream;  // T C Y X each
  PerClip errors;    // mean squared errors, under the name of the PSNR that they become: "psnr@1"
  PerClip values;    // figures that are averaged as they are: "ssim@1"
  PerClip other;     // errors under another clip's actions, "psnr_random_actions@1": they say
                     // something of judged clips alone; empty where there are none
};
RolloutFigures measure_rollouts(const World& world, const EvalClips& clips);

/// The objective's loss of each own clip, on the same noise with its own actions, another clip's,
/// and none: "loss", "shuffled", "hidden"; the last two say something of judged clips alone, and
/// are not there where there are none.
constexpr int64_t kLossDraws = 4;  // noise draws a clip
PerClip measure_losses(const World& world, const EvalClips& clips);
/// Frames of a clip on which the loss is taken: as in training.
int64_t loss_frames(const World& world, const Clips& clips);

/// The neighbouring clips that a member measures: as many for each, which may overlap.
struct OwnRows {
  int64_t first = 0;
  int64_t count = 0;
  bool operator==(const OwnRows&) const = default;
};
OwnRows own_rows(int64_t member, int64_t members, int64_t clips);

/// Figures of the own clips -> figures of all, on every member.
PerClip of_all_clips(const PerClip& own, const EvalClips& clips, const EvalTeam& team);

/// values[row] for each of `rows`.
inline std::vector<double> picked(const std::vector<double>& values,
                                  const std::vector<int64_t>& rows) {
  std::vector<double> chosen;
  for (const int64_t row : rows) chosen.push_back(values[static_cast<size_t>(row)]);
  return chosen;
}

/// Rows first .. first + count - 1.
inline ActionBatch action_rows(const ActionBatch& actions, int64_t first, int64_t count) {
  return {actions.values.narrow(0, first, count), actions.known.narrow(0, first, count)};
}

}  // namespace praxino
