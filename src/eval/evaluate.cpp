#include "praxino/eval/evaluate.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "eval/per_clip.h"
#include "praxino/base/error.h"
#include "praxino/eval/interval.h"
#include "praxino/eval/metrics.h"

namespace praxino {
namespace {

void check_clips(const World& world, const EvalClips& clips) {
  const EvalConfig& eval = world.config.eval;
  if (clips.count() < 1) fail("an evaluation needs at least one held-out clip");
  const int64_t frames = clips.clips.frames.size(1);
  if (frames != eval.context + eval.horizon) {
    fail("the held-out clips have {} frames, but eval.context + eval.horizon is {} + {}", frames,
         eval.context, eval.horizon);
  }
}

std::vector<std::string> settings_of(const World& world, const Clips& clips) {
  const EvalConfig& eval = world.config.eval;
  const ObjectiveConfig& objective = world.config.objective;
  std::vector<std::string> lines;
  lines.push_back(fmt::format(
      "{} held-out clips: {} true frames given, then {} imagined ({} sampler steps, context noise "
      "{}, seed {}), {} weights",
      clips.count(), eval.context, eval.horizon, objective.sampler_steps, objective.context_noise,
      eval.seed, world.averaged ? "averaged" : "plain"));
  lines.emplace_back(
      "psnr: dB, range 255, of the mean squared error over all pixels, frames and clips; at most "
      "100");
  lines.emplace_back(
      "psnr per frame: mean of every frame's own psnr; clips that stand still, which copying gets "
      "right to the bit, count most in it");
  lines.emplace_back(
      "ssim: Gaussian window of 11, sigma 1.5, valid region, biased covariance, mean over "
      "channels");
  lines.emplace_back(
      "copy: the last given frame repeated; gain: psnr minus copy, over the same clips");
  lines.push_back(fmt::format("loss: as in training, on the first {} frames, {} noise draws a clip",
                              loss_frames(world, clips), kLossDraws));
  const size_t judged = judged_clips(world, clips).size();
  lines.push_back(
      judged > 0
          ? fmt::format("of the {} clips with known actions, on the same noise: delta psnr: true "
                        "actions minus another clip's; shuffle ratio: loss with another clip's "
                        "actions over loss; no-action gap: loss with hidden actions minus loss",
                        judged)
          : "no metrics of actions: they need two clips with known actions");
  lines.emplace_back("[low, high]: 95 % percentile bootstrap over clips, 2,000 resamples");
  return lines;
}

// From squared errors to decibels: a smaller error is a higher figure, so the ends change places.
eval::Interval in_decibels(const eval::Interval& error) {
  return {eval::psnr_of_error(error.mean), eval::psnr_of_error(error.high),
          eval::psnr_of_error(error.low), error.n};
}

// 10 log10 of a ratio of summed errors: how many decibels the second is better than the first.
// Errors count at least as much as those of frames that are taken for equal, so that still clips
// give finite figures.
eval::Interval gain_over(const std::vector<double>& baseline, const std::vector<double>& errors) {
  const auto floored = [](std::vector<double> values) {
    for (double& value : values) value = std::max(value, eval::kErrorOfEqualFrames);
    return values;
  };
  const eval::Interval ratio = eval::ratio_interval(floored(baseline), floored(errors));
  const auto decibels = [](double value) { return 10.0 * std::log10(value); };
  return {decibels(ratio.mean), decibels(ratio.low), decibels(ratio.high), ratio.n};
}

}  // namespace

EvalReport evaluate(const World& world, const EvalClips& clips, const EvalTeam& team) {
  check_clips(world, clips);
  const std::vector<int64_t> judged = judged_clips(world, clips.clips);
  EvalReport report;
  const auto put = [&](const std::string& name, const eval::Interval& interval) {
    report.metrics["eval/" + name] = interval.mean;
    report.metrics["eval/" + name + "/low"] = interval.low;
    report.metrics["eval/" + name + "/high"] = interval.high;
  };

  const PerClip losses = of_all_clips(measure_losses(world, clips), clips, team);
  put("loss", eval::mean_interval(losses.at("loss")));
  if (!judged.empty()) {
    const std::vector<double> own = picked(losses.at("loss"), judged);
    put("action_shuffle_ratio", eval::ratio_interval(picked(losses.at("shuffled"), judged), own));
    std::vector<double> gap = picked(losses.at("hidden"), judged);
    for (size_t i = 0; i < gap.size(); ++i) gap[i] -= own[i];
    put("no_action_gap", eval::mean_interval(gap));
  }

  RolloutFigures rollouts = measure_rollouts(world, clips);
  const PerClip all_values = of_all_clips(rollouts.values, clips, team),
                all_errors = of_all_clips(rollouts.errors, clips, team),
                all_others = of_all_clips(rollouts.other, clips, team);
  for (const auto& [name, values] : all_values) put(name, eval::mean_interval(values));
  for (const auto& [name, errors] : all_errors) {
    put(name, in_decibels(eval::mean_interval(errors)));
    if (name != "psnr" && !name.starts_with("psnr@")) continue;
    const std::string at = name.substr(std::string("psnr").size());  // "" or "@h"
    put("psnr_gain_over_copy" + at, gain_over(all_errors.at("psnr_copy" + at), errors));
    if (judged.empty()) continue;
    const std::vector<double> other = picked(all_others.at("psnr_random_actions" + at), judged);
    put("psnr_random_actions" + at, in_decibels(eval::mean_interval(other)));
    put("delta_psnr" + at, gain_over(other, picked(errors, judged)));
  }
  report.metrics["eval/n"] = static_cast<double>(clips.count());
  report.dream = std::move(rollouts.dream);
  report.settings = settings_of(world, clips.clips);
  return report;
}

std::vector<RolloutPictures> report_pictures(const World& world, const EvalClips& clips,
                                             const EvalReport& report, int64_t rows) {
  std::vector<RolloutPictures> pictures;
  const Clips& all = clips.clips;
  for (int64_t i = 0; i < std::min(rows, clips.own()); ++i) {
    const int64_t row = clips.first + i;
    pictures.push_back({all.names[static_cast<size_t>(row)], all.frames[i], report.dream[i],
                        world.config.eval.context, all.actions[row], all.known[row], world.fields});
  }
  return pictures;
}

}  // namespace praxino
