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

/// The same clips in batches, with everything that the loss needs.
struct Material {
  at::Tensor frames;     // N T C Y X
  ActionBatch own;       // N T A
  ActionBatch borrowed;  // of another clip; undefined where actions cannot be judged
  std::vector<int64_t> judged;
};

Material material_of(const World& world, const Clips& clips) {
  const int64_t frames = loss_frames(world, clips);
  const auto first = [&](const at::Tensor& t) { return t.narrow(1, 0, frames); };
  Material material{first(clips.frames),
                    {first(clips.actions), first(clips.known)},
                    {},
                    judged_clips(world, clips)};
  if (!material.judged.empty()) {
    const auto seed = static_cast<uint64_t>(world.config.eval.seed);
    const at::Tensor lender = at::tensor(borrowed_from(clips.count(), material.judged, seed));
    material.borrowed = {material.own.values.index_select(0, lender),
                         material.own.known.index_select(0, lender)};
  }
  return material;
}

}  // namespace

int64_t loss_frames(const World& world, const Clips& clips) {
  return std::min(clips.frames.size(1), world.config.data.clip_frames);
}

LossFigures measure_losses(const World& world, const Clips& clips) {
  const at::NoGradGuard no_grad;
  const EvalConfig& eval = world.config.eval;
  const Material material = material_of(world, clips);
  const bool judge = !material.judged.empty();
  const std::vector<double> zeros(static_cast<size_t>(clips.count()));
  LossFigures figures{.loss = zeros, .own = {}, .shuffled = zeros, .hidden = zeros};

  for (int64_t first = 0; first < clips.count(); first += eval.batch) {
    const int64_t count = std::min(eval.batch, clips.count() - first);
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
      std::iota(keys.samples.begin(), keys.samples.end(), first);
      // hide_actions, training's dropout, is not applied: hidden actions are measured on their own.
      const Corrupted input = world.objective->corrupt(tokens, keys);
      add_losses(world, input, own, figures.loss.data() + first);
      if (!judge) continue;
      add_losses(world, input, borrowed, figures.shuffled.data() + first);
      add_losses(world, input, {own.values, at::zeros_like(own.known)},
                 figures.hidden.data() + first);
    }
  }
  for (size_t i = 0; i < zeros.size(); ++i) {
    if (!std::isfinite(figures.loss[i])) {
      fail(
          "the loss on the held-out clip {} is not finite: the weights of step {} are damaged or "
          "have diverged",
          clips.names[i], world.step);
    }
  }
  figures.own = picked(figures.loss, material.judged);
  figures.shuffled = picked(figures.shuffled, material.judged);
  figures.hidden = picked(figures.hidden, material.judged);
  return figures;
}

}  // namespace praxino
