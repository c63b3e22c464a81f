#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "eval/per_clip.h"
#include "praxino/base/error.h"
#include "praxino/base/random.h"
#include "praxino/base/signals.h"

namespace praxino {
namespace {

Corrupted row_of(const Corrupted& input, int64_t b) {
  const auto row = [b](const at::Tensor& t) { return t.narrow(0, b, 1); };
  return {row(input.z), row(input.signal), row(input.target), row(input.weight),
          row(input.hide_actions)};
}

/// Adds each row's loss, divided by the number of draws, to losses[first ..].
void add_losses(const World& world, const Corrupted& input, const ActionBatch& actions,
                double* losses) {
  const at::Tensor prediction = world.model->forward(input.z, input.signal, actions);
  for (int64_t b = 0; b < prediction.size(0); ++b) {
    const Loss loss = world.objective->loss(prediction.narrow(0, b, 1), row_of(input, b));
    losses[b] += loss.total.item<double>() / static_cast<double>(kLossDraws);
  }
}

/// The own clips, with everything that the loss needs.
struct Material {
  at::Tensor frames;     // N T C Y X
  ActionBatch own;       // N T A
  ActionBatch borrowed;  // of another clip; undefined where actions cannot be judged
};

Material material_of(const World& world, const EvalClips& eval) {
  const Clips& clips = eval.clips;
  const int64_t frames = loss_frames(world, clips);
  const auto first = [&](const at::Tensor& t) { return t.narrow(1, 0, frames); };
  const auto rows = [&](const at::Tensor& t) { return t.narrow(0, eval.first, eval.own()); };
  const ActionBatch all = {first(clips.actions), first(clips.known)};
  Material material{first(clips.frames), {rows(all.values), rows(all.known)}, {}};
  const std::vector<int64_t> judged = judged_clips(world, clips);
  if (!judged.empty()) {
    const auto seed = static_cast<uint64_t>(world.config.eval.seed);
    const at::Tensor lender = rows(at::tensor(borrowed_from(clips.count(), judged, seed)));
    material.borrowed = {all.values.index_select(0, lender), all.known.index_select(0, lender)};
  }
  return material;
}

}  // namespace

int64_t loss_frames(const World& world, const Clips& clips) {
  return std::min(clips.actions.size(1), world.config.data.clip_frames);
}

PerClip measure_losses(const World& world, const EvalClips& clips) {
  const at::NoGradGuard no_grad;
  const EvalConfig& eval = world.config.eval;
  const Material material = material_of(world, clips);
  const bool judge = material.borrowed.values.defined();
  const std::vector<double> zeros(static_cast<size_t>(clips.own()));
  std::vector<double> loss = zeros, shuffled = zeros, hidden = zeros;

  for (int64_t first = 0; first < clips.own(); first += eval.batch) {
    const int64_t count = std::min(eval.batch, clips.own() - first);
    const auto on_device = [&](const ActionBatch& all) {
      const ActionBatch rows = action_rows(all, first, count);
      return ActionBatch{rows.values.to(world.device), rows.known.to(world.device)};
    };
    const at::Tensor tokens =
        world.tokenizer->encode(material.frames.narrow(0, first, count).to(world.device)).values;
    const ActionBatch own = on_device(material.own);
    const ActionBatch borrowed = judge ? on_device(material.borrowed) : ActionBatch{};
    for (int64_t draw = 0; draw < kLossDraws; ++draw) {
      throw_if_stopped();
      SampleKeys keys{
          derive_seed(static_cast<uint64_t>(eval.seed), "eval.loss", static_cast<uint64_t>(draw)),
          {}};
      keys.samples.resize(static_cast<size_t>(count));
      std::iota(keys.samples.begin(), keys.samples.end(), clips.first + first);
      // hide_actions, training's dropout, is not applied: hidden actions are measured on their own.
      const Corrupted input = world.objective->corrupt(tokens, keys);
      add_losses(world, input, own, loss.data() + first);
      if (!judge) continue;
      add_losses(world, input, borrowed, shuffled.data() + first);
      add_losses(world, input, {own.values, at::zeros_like(own.known)}, hidden.data() + first);
    }
  }
  for (size_t i = 0; i < zeros.size(); ++i) {
    if (!std::isfinite(loss[i])) {
      fail(
          "the loss on the held-out clip {} is not finite: the weights of step {} are damaged or "
          "have diverged",
          clips.clips.names[static_cast<size_t>(clips.first) + i], world.step);
    }
  }
  if (!judge) return {{"loss", loss}};
  return {{"loss", loss}, {"shuffled", shuffled}, {"hidden", hidden}};
}

}  // namespace praxino
