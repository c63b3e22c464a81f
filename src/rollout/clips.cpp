#include "praxino/rollout/clips.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "praxino/base/error.h"
#include "praxino/base/log.h"
#include "praxino/data/actions.h"
#include "praxino/data/loader.h"
#include "praxino/video/error.h"

namespace praxino {
namespace {

std::span<uint8_t> bytes_of(at::Tensor& pixels) {
  return {pixels.data_ptr<uint8_t>(), static_cast<size_t>(pixels.numel())};
}

/// Rows of clips, collected one by one.
struct Collected {
  std::vector<at::Tensor> frames, values, known;

  void add(const at::Tensor& pixels, const ClipPlan& plan) {
    const auto count = static_cast<int64_t>(plan.numbers.size());
    const int64_t width = static_cast<int64_t>(plan.actions.size()) / count;
    at::Tensor actions = at::zeros({count, width}, at::kFloat);
    std::copy(plan.actions.begin(), plan.actions.end(), actions.data_ptr<float>());
    at::Tensor mask = at::zeros({count}, at::kBool);
    std::copy(plan.known.begin(), plan.known.end(), mask.data_ptr<bool>());
    frames.push_back(pixels);
    values.push_back(actions);
    known.push_back(mask);
  }

  Clips clips(std::vector<std::string> names, const Rational& fps) const {
    return {at::stack(frames), at::stack(values), at::stack(known), std::move(names), fps};
  }
};

/// data.fps, else the data set's, else the file's own.
Rational frame_rate(const World& world, const FrameIndex& index) {
  for (const double fps : {world.config.data.fps, world.dataset.fps, index.mean_fps()}) {
    if (fps > 0) return Rational::parse(fmt::format("{:.6f}", fps));
  }
  return 1;
}

/// plan_clip for a file outside any data set: the frames being shown at start + k / fps.
ClipPlan plan_video(const World& world, const VideoClip& clip, const FrameIndex& index,
                    const ActionTable& table) {
  const Rational fps = frame_rate(world, index);
  const Rational start = Rational::parse(fmt::format("{:.6f}", clip.seconds));
  const size_t width = world.fields.size();
  ClipPlan plan{0, {}, std::vector<float>(static_cast<size_t>(clip.frames) * width), {}};
  for (int64_t k = 0; k < clip.frames; ++k) {
    const Rational shown = start + Rational(k) / fps;
    if (!(shown < index.duration())) {
      fail(
          "{}: only {} of {} frames are left from second {} on (at {} frames a second, of {:.1f} "
          "seconds in all)",
          clip.file.string(), k, clip.frames, clip.seconds, fps.str(), index.duration().value());
    }
    plan.numbers.push_back(index.frame_at(shown));
    const Rational before = shown - Rational(1) / fps;
    const bool known = table.rows > 0 && !(before < Rational(0));
    plan.known.push_back(known);
    if (known) {
      const std::span<float> row(plan.actions.data() + static_cast<size_t>(k) * width, width);
      combine_actions(table, world.dataset, index.frame_at(before), plan.numbers.back(), row);
    }
  }
  return plan;
}

}  // namespace

std::vector<ClipPlan> spread_clips(const RunConfig& config, const Dataset& dataset,
                                   const std::vector<Span>& spans, int64_t frames, int64_t count) {
  const Rational fps = dataset.fps(config.data);
  const ClipSpace space(dataset, spans, frames, fps);
  if (space.size() == 0) {
    fail("{}: no held-out clip of {} frames at {} frames a second: {}", dataset.folder().string(),
         frames, fps.str(),
         spans.empty() ? "nothing is held out (data.split.val is 0)"
                       : "every held-out span is shorter; ask for fewer frames (context, horizon), "
                         "or raise data.split.val");
  }
  const int64_t chosen = std::min(count, space.size());
  std::vector<ClipPlan> plans;
  for (int64_t i = 0; i < chosen; ++i) {
    // The middle of each of `chosen` equal parts; through double, because the product may not fit.
    const double place = (static_cast<double>(i) + 0.5) / static_cast<double>(chosen) *
                         static_cast<double>(space.size());
    plans.push_back(space.plan(std::min(static_cast<int64_t>(place), space.size() - 1)));
  }
  return plans;
}

Clips read_clips(const RunConfig& config, std::shared_ptr<const Dataset> dataset,
                 const std::vector<ClipPlan>& plans) {
  const auto [height, width] = config.data.size;
  ClipDecoder decoder(dataset, height, width, parse_resize_filter(config.data.resize));
  Collected rows;
  std::vector<std::string> names;
  for (const ClipPlan& plan : plans) {
    const std::string name =
        fmt::format("{} @ frame {}", dataset->files()[static_cast<size_t>(plan.file)].name,
                    plan.numbers.front());
    at::Tensor pixels =
        at::empty({static_cast<int64_t>(plan.numbers.size()), 3, height, width}, at::kByte);
    try {
      decoder.decode(plan, bytes_of(pixels));
    } catch (const VideoError& error) {
      log::warning("left out the clip {}: {}", name, error.what());
      continue;
    }
    rows.add(pixels, plan);
    names.push_back(name);
  }
  if (names.empty())
    fail("{}: none of the {} chosen clips can be decoded", dataset->folder().string(),
         plans.size());
  return rows.clips(std::move(names), dataset->fps(config.data));
}

Clips read_video_clip(const World& world, const VideoClip& clip) {
  if (!(clip.seconds >= 0) || clip.seconds > 1e9)
    fail_usage("a video starts at second 0, not at {}", clip.seconds);
  const auto index = std::make_shared<const FrameIndex>(build_index(clip.file));
  ActionTable table;
  const std::filesystem::path sidecar = find_sidecar(clip.file);
  if (clip.actions && !sidecar.empty() && !world.fields.empty()) {
    table = read_actions(sidecar, world.fields);
    if (table.rows != index->frame_count()) {
      fail("{} has {} rows but {} has {} frames", sidecar.string(), table.rows, clip.file.string(),
           index->frame_count());
    }
  }
  const ClipPlan plan = plan_video(world, clip, *index, table);
  const auto [height, width] = world.config.data.size;
  at::Tensor pixels = at::empty({clip.frames, 3, height, width}, at::kByte);
  const PixelLayout layout{height, width, parse_resize_filter(world.config.data.resize),
                           /*planar=*/true};
  Reader(clip.file, index).read(plan.numbers, layout, bytes_of(pixels));
  Collected rows;
  rows.add(pixels, plan);
  return rows.clips(
      {fmt::format("{} @ frame {}", clip.file.filename().string(), plan.numbers.front())},
      frame_rate(world, *index));
}

}  // namespace praxino
