#pragma once
// Pictures of rollouts for people: a contact sheet with the truth above the dream, and a video of
// both side by side.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "praxino/base/rational.h"
#include "praxino/config/actions.h"
#include "praxino/video/canvas.h"

namespace praxino {

/// One rollout to show. Frames are T C Y X uint8 on the CPU; the first `context` of the dream were
/// given.
struct RolloutPictures {
  std::string title;
  at::Tensor truth;  // undefined: there is none
  at::Tensor dream;
  int64_t context = 0;
  at::Tensor actions;  // T A, raw values: into each frame
  at::Tensor known;    // T bool
  std::vector<ActionField> fields;
};

/// The frames that a sheet of at most `columns` columns shows: all, or the last given one, the
/// first imagined one and others up to the last, spread evenly.
std::vector<int64_t> sheet_columns(int64_t frames, int64_t context, int64_t columns = 16);

/// One block a rollout: title; a label for each column ("given", "+1", "+2", ...); truth; dream;
/// the actions that led into each frame as bars. Given frames have a green edge, imagined ones an
/// orange one.
Canvas contact_sheet(const std::vector<RolloutPictures>& rollouts, int64_t columns = 16);

/// truth | dream (the dream alone where there is no truth), enlarged by a whole number to 256 lines
/// or a little more, with the same edges and bars. Appears by one rename when complete.
void write_rollout_video(const std::filesystem::path& path, const RolloutPictures& rollout,
                         const Rational& fps);

}  // namespace praxino
