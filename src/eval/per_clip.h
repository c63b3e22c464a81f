#pragma once
// What one evaluation measures on every clip, before it becomes means and intervals.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "praxino/model/world_model.h"
#include "praxino/rollout/clips.h"
#include "praxino/rollout/world.h"

namespace praxino {

/// Name of a figure -> its value for each clip.
using PerClip = std::map<std::string, std::vector<double>>;

/// Whether actions can be judged: there are known ones, and another clip to borrow some from.
bool actions_can_be_judged(const World& world, const Clips& clips);

/// For each of n >= 2 clips another one whose actions it borrows: every clip lends once. A function
/// of the seed.
std::vector<int64_t> borrowed_from(int64_t clips, uint64_t seed);

/// Frames ahead that get a figure of their own: 1, 2, 4, ... and the horizon.
std::vector<int64_t> measured_horizons(int64_t horizon);

struct RolloutFigures {
  at::Tensor dream;  // N T C Y X
  PerClip errors;    // mean squared errors, under the name of the PSNR that they become: "psnr@1"
  PerClip values;    // figures that are averaged as they are: "ssim@1"
};
RolloutFigures measure_rollouts(const World& world, const Clips& clips);

/// The objective's loss of each clip, on the same noise for all three. shuffled and hidden are
/// empty where actions cannot be judged.
struct LossFigures {
  std::vector<double> loss, shuffled, hidden;
};
constexpr int64_t kLossDraws = 4;  // noise draws a clip
LossFigures measure_losses(const World& world, const Clips& clips);
/// Frames of a clip on which the loss is taken: as in training.
int64_t loss_frames(const World& world, const Clips& clips);

/// Rows first .. first + count - 1.
inline ActionBatch action_rows(const ActionBatch& actions, int64_t first, int64_t count) {
  return {actions.values.narrow(0, first, count), actions.known.narrow(0, first, count)};
}

}  // namespace praxino
