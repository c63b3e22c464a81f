#pragma once
// Where a rollout starts: pieces of real video with the actions that were taken, as the world's
// data set holds them or as any video file does.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "praxino/data/clip.h"
#include "praxino/rollout/world.h"

namespace praxino {

/// Clips in memory, on the CPU.
struct Clips {
  at::Tensor frames;               // N T C Y X uint8
  at::Tensor actions;              // N T A float32: raw values, into each frame; 0 where unknown
  at::Tensor known;                // N T bool
  std::vector<std::string> names;  // N: "file.mp4 @ frame 120"
  Rational fps = 1;
  int64_t count() const { return static_cast<int64_t>(names.size()); }
};

/// Planned clips as far as they can be decoded; `missing` are the numbers of the others.
struct DecodedClips {
  std::vector<at::Tensor> frames;  // of each that can: T C Y X uint8
  std::vector<size_t> missing;
};
/// Decodes planned clips, scaled as data.size and data.resize say. One that cannot be decoded is
/// left out with a warning. Calls throw_if_stopped() before each clip.
DecodedClips decode_clips(const RunConfig& config, std::shared_ptr<const Dataset> dataset,
                          const std::vector<ClipPlan>& plans);

/// Takes those numbers out of `plans`, each once however often it is named. Throws praxino::Error
/// when none is left.
void leave_out(std::vector<ClipPlan>& plans, std::vector<size_t> missing, const Dataset& dataset);

/// The clips that can be decoded, of equal length, with their actions; praxino::Error when none is
/// left.
Clips read_clips(const RunConfig& config, std::shared_ptr<const Dataset> dataset,
                 const std::vector<ClipPlan>& plans);

/// What is known of planned clips without decoding them: `frames` is undefined.
Clips undecoded_clips(const RunConfig& config, const Dataset& dataset,
                      const std::vector<ClipPlan>& plans);

/// At most `count` clips of `frames` frames, spread evenly over `spans` (a pure function of both;
/// no two the same). Throws praxino::Error saying why when there is none.
std::vector<ClipPlan> spread_clips(const RunConfig& config, const Dataset& dataset,
                                   const std::vector<Span>& spans, int64_t frames, int64_t count);

/// One clip of a video file that need not belong to any data set: from the frame shown at `seconds`
/// on, as plan_clip has it, at the world's frame rate (Dataset::fps). A sidecar beside it is read
/// with the alignment of the world's data set; without one no action is known. `actions` false
/// leaves the sidecar alone. Throws praxino::Error, also when fewer than `frames` frames are there.
struct VideoClip {
  std::filesystem::path file;
  double seconds = 0;
  int64_t frames = 0;
  bool actions = true;
};
Clips read_video_clip(const World& world, const VideoClip& clip);

}  // namespace praxino
