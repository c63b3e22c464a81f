#include "praxino/rollout/clips.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "praxino/base/error.h"
#include "praxino/base/log.h"
#include "praxino/base/signals.h"
#include "praxino/data/actions.h"
#include "praxino/data/loader.h"
#include "praxino/video/error.h"

namespace praxino {
namespace {

/// Rows of clips, collected one by one; `frames` of all or none.
struct Collected {
  std::vector<at::Tensor> frames, values, known;

  void add(const ClipPlan& plan) {
    const auto count = static_cast<int64_t>(plan.numbers.size());
    const int64_t width = static_cast<int64_t>(plan.actions.size()) / count;
    at::Tensor actions = at::zeros({count, width}, at::kFloat);
    std::copy(plan.actions.begin(), plan.actions.end(), actions.data_ptr<float>());
    at::Tensor mask = at::zeros({count}, at::kBool);
    std::copy(plan.known.begin(), plan.known.end(), mask.data_ptr<bool>());
    values.push_back(actions);
    known.push_back(mask);
  }
  void add(const at::Tensor& pixels, const ClipPlan& plan) {
    add(plan);
    frames.push_back(pixels);
  }

  Clips clips(std::vector<std::string> names, const Rational& fps) const {
    return {frames.empty() ? at::Tensor() : at::stack(frames), at::stack(values), at::stack(known),
            std::move(names), fps};
  }
};

std::string name_of(const Dataset& dataset, const ClipPlan& plan) {
  return fmt::format("{} @ frame {}", dataset.files()[static_cast<size_t>(plan.file)].name,
                     plan.numbers.front());
}

ClipDecoder decoder_for(const RunConfig& config, std::shared_ptr<const Dataset> dataset) {
  const auto [height, width] = config.data.size;
  return {std::move(dataset), height, width, parse_resize_filter(config.data.resize)};
}

at::Tensor decode_clip(ClipDecoder& decoder, const RunConfig& config, const ClipPlan& plan) {
  const auto [height, width] = config.data.size;
  at::Tensor pixels =
      at::empty({static_cast<int64_t>(plan.numbers.size()), 3, height, width}, at::kByte);
  decoder.decode(plan, {pixels.data_ptr<uint8_t>(), static_cast<size_t>(pixels.numel())});
  return pixels;
}

/// A data set of this file alone, whose actions are those of the world.
Dataset dataset_of(const World& world, const VideoClip& clip) {
  SourceFile file{.name = clip.file.filename().string(),
                  .path = clip.file,
                  .index = std::make_shared<const FrameIndex>(build_index(clip.file)),
                  .actions = {}};
  const std::filesystem::path sidecar = find_sidecar(clip.file);
  if (clip.actions && !sidecar.empty() && !world.fields.empty()) {
    file.actions = read_actions(sidecar, world.fields);
  }
  DatasetConfig config = world.dataset;
  if (config.fps <= 0 && file.index->frame_count() < 2) config.fps = 1;  // a still has no rate
  return Dataset(clip.file.parent_path(), std::move(config), {std::move(file)});
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

DecodedClips decode_clips(const RunConfig& config, std::shared_ptr<const Dataset> dataset,
                          const std::vector<ClipPlan>& plans) {
  ClipDecoder decoder = decoder_for(config, dataset);
  DecodedClips decoded;
  for (size_t i = 0; i < plans.size(); ++i) {
    throw_if_stopped();
    try {
      decoded.frames.push_back(decode_clip(decoder, config, plans[i]));
    } catch (const Error& error) {
      log::warning("left out the clip {}: {}", name_of(*dataset, plans[i]), error.what());
      decoded.missing.push_back(i);
    }
  }
  return decoded;
}

void leave_out(std::vector<ClipPlan>& plans, std::vector<size_t> missing, const Dataset& dataset) {
  const size_t planned = plans.size();
  std::ranges::sort(missing, std::greater());
  const auto repeated = std::ranges::unique(missing);
  missing.erase(repeated.begin(), repeated.end());
  for (const size_t i : missing) plans.erase(plans.begin() + static_cast<std::ptrdiff_t>(i));
  if (plans.empty()) {
    fail("{}: none of the {} chosen clips can be decoded", dataset.folder().string(), planned);
  }
}

Clips undecoded_clips(const RunConfig& config, const Dataset& dataset,
                      const std::vector<ClipPlan>& plans) {
  Collected rows;
  std::vector<std::string> names;
  for (const ClipPlan& plan : plans) {
    rows.add(plan);
    names.push_back(name_of(dataset, plan));
  }
  return rows.clips(std::move(names), dataset.fps(config.data));
}

Clips read_clips(const RunConfig& config, std::shared_ptr<const Dataset> dataset,
                 const std::vector<ClipPlan>& plans) {
  std::vector<ClipPlan> kept = plans;
  const DecodedClips decoded = decode_clips(config, dataset, plans);
  leave_out(kept, decoded.missing, *dataset);
  Clips clips = undecoded_clips(config, *dataset, kept);
  clips.frames = at::stack(decoded.frames);
  return clips;
}

Clips read_video_clip(const World& world, const VideoClip& clip) {
  if (!(clip.seconds >= 0) || clip.seconds > 1e9)
    fail_usage("a video starts at second 0, not at {}", clip.seconds);
  const auto dataset = std::make_shared<const Dataset>(dataset_of(world, clip));
  const FrameIndex& index = *dataset->files().front().index;
  const Rational fps = dataset->fps(world.config.data);
  const Rational start = Rational::parse(fmt::format("{:.6f}", clip.seconds));
  const Rational duration = index.duration();
  const Span whole{.file = 0, .first = 0, .last = index.frame_count()};
  std::optional<ClipPlan> plan;
  if (start < duration)
    plan = plan_clip(*dataset, whole, shown_frame(index, start), clip.frames, fps);
  if (!plan) {
    fail(
        "{}: {} frames at {} frames a second last {:.2f} s, but from second {} on {:.2f} s are "
        "left",
        clip.file.string(), clip.frames, fps.str(), (Rational(clip.frames) / fps).value(),
        clip.seconds, std::max(0.0, (duration - start).value()));
  }
  ClipDecoder decoder = decoder_for(world.config, dataset);
  Collected rows;
  rows.add(decode_clip(decoder, world.config, *plan), *plan);
  return rows.clips({name_of(*dataset, *plan)}, fps);
}

}  // namespace praxino
