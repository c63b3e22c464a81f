#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <fmt/core.h>

#include <algorithm>
#include <numeric>

#include "eval/per_clip.h"
#include "praxino/base/random.h"
#include "praxino/eval/metrics.h"
#include "praxino/rollout/session.h"

namespace praxino {
namespace {

using Metric = at::Tensor (*)(const at::Tensor&, const at::Tensor&);

/// N H of N H C Y X, a few frames at a time: float64 copies of all of them would not fit.
at::Tensor each_frame(Metric metric, const at::Tensor& a, const at::Tensor& b) {
  constexpr int64_t kAtATime = 64;
  const at::Tensor flat_a = a.flatten(0, 1), flat_b = b.flatten(0, 1);
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first < flat_a.size(0); first += kAtATime) {
    const int64_t count = std::min(kAtATime, flat_a.size(0) - first);
    parts.push_back(metric(flat_a.narrow(0, first, count), flat_b.narrow(0, first, count)));
  }
  return at::cat(parts).view({a.size(0), a.size(1)});
}

std::vector<double> to_vector(const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kDouble).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

/// name: the mean over the horizon; name@h: the frame h ahead.
void add(PerClip& values, const std::string& name, const at::Tensor& per_frame) {
  values[name] = to_vector(per_frame.mean(1));
  for (const int64_t h : measured_horizons(per_frame.size(1))) {
    values[fmt::format("{}@{}", name, h)] = to_vector(per_frame.select(1, h - 1));
  }
}

/// The own clips under `actions`, which are those of all, eval.batch at a time: N T C Y X.
at::Tensor dream_under(const World& world, const EvalClips& clips, const ActionBatch& actions) {
  const EvalConfig& eval = world.config.eval;
  std::vector<at::Tensor> parts;
  for (int64_t first = 0; first < clips.own(); first += eval.batch) {
    const int64_t count = std::min(eval.batch, clips.own() - first), row = clips.first + first;
    Session session(world, count, {.seed = static_cast<uint64_t>(eval.seed), .first_row = row});
    parts.push_back(roll_out(session, clips.clips.frames.narrow(0, first, count),
                             action_rows(actions, row, count), eval.context));
  }
  return at::cat(parts);
}

/// The given frames keep the actions that really led into them; the imagined ones get another
/// clip's.
ActionBatch with_borrowed_actions(const World& world, const Clips& clips,
                                  const std::vector<int64_t>& judged) {
  const EvalConfig& eval = world.config.eval;
  const at::Tensor lender =
      at::tensor(borrowed_from(clips.count(), judged, static_cast<uint64_t>(eval.seed)));
  const auto mixed = [&](const at::Tensor& own) {
    return at::cat({own.narrow(1, 0, eval.context),
                    own.index_select(0, lender).narrow(1, eval.context, eval.horizon)},
                   1);
  };
  return {mixed(clips.actions), mixed(clips.known)};
}

at::Tensor through_tokenizer(const World& world, const at::Tensor& frames) {
  std::vector<at::Tensor> parts;
  for (int64_t clip = 0; clip < frames.size(0); ++clip) {
    const at::Tensor one = frames.narrow(0, clip, 1).to(world.device);
    parts.push_back(world.tokenizer->decode(world.tokenizer->encode(one).values).to(at::kCPU));
  }
  return at::cat(parts);
}

}  // namespace

std::vector<int64_t> judged_clips(const World& world, const Clips& clips) {
  std::vector<int64_t> judged;
  if (world.fields.empty()) return judged;
  const EvalConfig& eval = world.config.eval;
  const at::Tensor known = clips.known.narrow(1, eval.context, eval.horizon).all(1);
  for (int64_t clip = 0; clip < clips.count(); ++clip) {
    if (known[clip].item<bool>()) judged.push_back(clip);
  }
  if (judged.size() < 2) judged.clear();
  return judged;
}

std::vector<int64_t> borrowed_from(int64_t clips, const std::vector<int64_t>& judged,
                                   uint64_t seed) {
  std::vector<int64_t> lender(static_cast<size_t>(clips));
  std::iota(lender.begin(), lender.end(), 0);
  // One cycle through the judged clips in a random order: none of them borrows from itself.
  const auto count = static_cast<uint64_t>(judged.size());
  if (count == 0) return lender;
  const Permutation order(derive_seed(seed, "eval.borrowed_actions", count), count);
  for (uint64_t i = 0; i < count; ++i)
    lender[static_cast<size_t>(judged[order(i)])] = judged[order((i + 1) % count)];
  return lender;
}

std::vector<int64_t> measured_horizons(int64_t horizon) {
  std::vector<int64_t> horizons;
  for (int64_t h = 1; h < horizon; h *= 2) horizons.push_back(h);
  horizons.push_back(horizon);
  return horizons;
}

RolloutFigures measure_rollouts(const World& world, const EvalClips& eval_clips) {
  const Clips& clips = eval_clips.clips;
  const int64_t context = world.config.eval.context, horizon = world.config.eval.horizon;
  const auto ahead = [&](const at::Tensor& frames) { return frames.narrow(1, context, horizon); };
  const at::Tensor truth = ahead(clips.frames);
  RolloutFigures figures;
  figures.dream = dream_under(world, eval_clips, {clips.actions, clips.known});

  const at::Tensor last_given = clips.frames.narrow(1, context - 1, 1).expand_as(truth);
  add(figures.errors, "psnr", each_frame(eval::mean_squared_error, ahead(figures.dream), truth));
  add(figures.errors, "psnr_copy", each_frame(eval::mean_squared_error, last_given, truth));
  figures.errors["psnr_tokenizer"] = to_vector(
      each_frame(eval::mean_squared_error, through_tokenizer(world, truth), truth).mean(1));
  add(figures.values, "psnr_per_frame", each_frame(eval::psnr, ahead(figures.dream), truth));
  add(figures.values, "psnr_per_frame_copy", each_frame(eval::psnr, last_given, truth));
  if (std::min(truth.size(-1), truth.size(-2)) >= eval::kSsimWindow) {
    add(figures.values, "ssim", each_frame(eval::ssim, ahead(figures.dream), truth));
  }
  const std::vector<int64_t> judged = judged_clips(world, clips);
  if (judged.empty()) return figures;
  // All clips are imagined, so that each keeps its row, and with it its noise.
  const at::Tensor other =
      ahead(dream_under(world, eval_clips, with_borrowed_actions(world, clips, judged)));
  add(figures.other, "psnr_random_actions", each_frame(eval::mean_squared_error, other, truth));
  return figures;
}

}  // namespace praxino
