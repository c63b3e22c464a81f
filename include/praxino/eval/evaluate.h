#pragma once
// Held-out evaluation of a world: rollouts beside copy-last-frame and the tokenizer's floor, and
// whether the actions matter. Metric names: docs/formats.md.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "praxino/data/clip.h"
#include "praxino/rollout/clips.h"
#include "praxino/rollout/sheet.h"
#include "praxino/rollout/world.h"

namespace praxino {

/// Held-out clips of eval.context + eval.horizon frames.
using EvalClips = Clips;

/// config.eval.clips clips of context + horizon frames, spread evenly over the held-out spans (a
/// pure function of data and configuration); fewer when there are fewer. Throws praxino::Error
/// saying why when there is none.
EvalClips load_eval_clips(const RunConfig& config, std::shared_ptr<const Dataset> dataset,
                          const std::vector<Span>& spans);

struct EvalReport {
  /// "eval/psnr@1", "eval/psnr@1/low", "eval/psnr@1/high", ..., "eval/n". With @h: the frame h
  /// ahead, h = 1, 2, 4, ... and the horizon; without: the mean over the horizon. Metrics of
  /// actions are absent where fewer than two clips have known actions; SSIM where its
  /// window does not fit.
  std::map<std::string, double> metrics;
  at::Tensor dream;                   // N T C Y X uint8: the true context, then what was imagined
  std::vector<std::string> settings;  // one line each, for people: what was measured and how
};

/// Rolls out every clip under its true actions and under random ones (those of another clip, drawn
/// by eval.seed), and measures the loss with true, shuffled and hidden actions on the same noise.
/// The figures do not depend on eval.batch beyond rounding. Throws praxino::Error when the model's
/// output is not finite, and Stopped where throw_if_stopped() does.
EvalReport evaluate(const World& world, const EvalClips& clips);

/// Every name that evaluate() reports for such a run: what `expect:` may name.
std::vector<std::string> metric_names(const RunConfig& config, bool with_actions);

/// {"step":..,"metrics":{..},"settings":[..]} pretty-printed; and a table for people with
/// conventions, n and intervals.
std::string report_json(const EvalReport& report, int64_t step);
std::string report_table(const EvalReport& report, int64_t step);

/// The first `rows` clips as pictures for contact_sheet().
std::vector<RolloutPictures> report_pictures(const World& world, const EvalClips& clips,
                                             const EvalReport& report, int64_t rows);

}  // namespace praxino
