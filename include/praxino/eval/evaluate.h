#pragma once
// Held-out evaluation of a world: rollouts beside copy-last-frame and the tokenizer's floor, and
// whether the actions matter. Metric names: docs/formats.md.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "praxino/data/clip.h"
#include "praxino/rollout/clips.h"
#include "praxino/rollout/sheet.h"
#include "praxino/rollout/world.h"

namespace praxino {

/// Those who measure one evaluation together, in step: each a part of the clips, all with the same
/// weights and the same arguments. One member: nothing is shared.
struct EvalTeam {
  int64_t member = 0;
  int64_t members = 1;
  /// Everybody's text in the order of members; called by all, equally often.
  std::function<std::vector<std::string>(const std::string&)> share = {};
  /// The same among all who take part: those as well who do a member's work beside it, in the same
  /// order of calls. Empty: nobody else does anything.
  std::function<std::vector<std::string>(const std::string&)> share_with_all = {};
};

/// The first pictures of a report are those of member 0 (report_pictures).
inline constexpr int64_t kEvalPictures = 4;

/// Held-out clips of eval.context + eval.horizon frames, of which a member of a team has the frames
/// of some.
struct EvalClips {
  EvalClips(Clips all, int64_t first_row = 0) : clips(std::move(all)), first(first_row) {}
  Clips clips;        // everybody's actions, masks and names; frames of the own ones alone
  int64_t first = 0;  // number of the first own one; they are neighbours
  int64_t count() const { return clips.count(); }
  int64_t own() const { return clips.frames.size(0); }
};

/// config.eval.clips clips of context + horizon frames, spread evenly over the held-out spans (a
/// pure function of data and configuration); fewer when there are fewer. Each member of a team
/// decodes its own; all have equally many, at least kEvalPictures (where there are so many), so
/// that a clip may be several members'. What one of them cannot decode all leave out. Throws
/// praxino::Error saying why when there is none.
EvalClips load_eval_clips(const RunConfig& config, std::shared_ptr<const Dataset> dataset,
                          const std::vector<Span>& spans, const EvalTeam& team = {});

struct EvalReport {
  /// "eval/psnr@1", "eval/psnr@1/low", "eval/psnr@1/high", ..., "eval/n". With @h: the frame h
  /// ahead, h = 1, 2, 4, ... and the horizon; without: the mean over the horizon. Metrics of
  /// actions are absent where fewer than two clips have known actions; SSIM where its
  /// window does not fit.
  std::map<std::string, double> metrics;
  at::Tensor dream;                   // of the own clips, T C Y X uint8: the true context, then
                                      // what was imagined
  std::vector<std::string> settings;  // one line each, for people: what was measured and how
};

/// Rolls out every clip under its true actions and under random ones (those of another clip, drawn
/// by eval.seed), and measures the loss with true, shuffled and hidden actions on the same noise.
/// The figures depend neither on eval.batch nor on the team beyond rounding; every member gets
/// those of all clips. All members run the model equally often and call throw_if_stopped() equally
/// often. Throws praxino::Error when the model's output is not finite, and Stopped where
/// throw_if_stopped() does.
EvalReport evaluate(const World& world, const EvalClips& clips, const EvalTeam& team = {});

/// Every name that evaluate() reports for such a run: what `expect:` may name.
std::vector<std::string> metric_names(const RunConfig& config, bool with_actions);

/// {"step":..,"metrics":{..},"settings":[..]} pretty-printed; and a table for people with
/// conventions, n and intervals.
std::string report_json(const EvalReport& report, int64_t step);
std::string report_table(const EvalReport& report, int64_t step);

/// The first `rows` own clips as pictures for contact_sheet().
std::vector<RolloutPictures> report_pictures(const World& world, const EvalClips& clips,
                                             const EvalReport& report, int64_t rows);

}  // namespace praxino
