#pragma once
// A world of a few thousand weights for tests: small enough to roll out hundreds of frames in a
// second.

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include "praxino/objective/objective.h"
#include "praxino/rollout/world.h"

namespace praxino::testing_world {

/// Tensors this small gain nothing from threads, and on a busy machine threads that wait for each
/// other cost a hundred times the work.
inline const bool kOneThread = (at::set_num_threads(1), true);

inline RunConfig tiny_config() {
  RunConfig config;
  config.run.device = "cpu";
  config.run.precision = "fp32";
  config.data.path = "data";
  config.data.size = {16, 16};
  config.data.clip_frames = 6;
  config.tokenizer.patch = 8;
  config.model.width = 32;
  config.model.depth = 2;
  config.model.heads = 2;
  config.model.time_every = 2;
  config.model.registers = 1;
  config.objective.sampler_steps = 2;
  config.eval.clips = 3;
  config.eval.context = 2;
  config.eval.horizon = 5;
  config.eval.batch = 2;
  return config;
}

inline std::vector<ActionField> tiny_fields() {
  ActionField turn, fire;
  turn.name = "turn";
  turn.kind = "axis";
  fire.name = "fire";
  return {turn, fire};
}

/// A fresh model says nothing at all (its last layer is zero); these weights make it depend on
/// everything.
inline void make_loud(World& world) {
  const at::NoGradGuard no_grad;
  uint64_t number = 0;
  for (const Parameter& parameter : world.model->parameters().all()) {
    at::Tensor value = parameter.value;
    value.add_(keyed_normal(value.sizes(), 7, "test.weights", number++), 0.2);
  }
}

inline World tiny_world(std::vector<ActionField> fields = tiny_fields(),
                        const RunConfig& config = tiny_config()) {
  World world = build_world(config, std::move(fields));
  make_loud(world);
  return world;
}

/// B T 3 16 16 pictures that differ from clip to clip and frame to frame.
inline at::Tensor pictures(int64_t batch, int64_t frames) {
  std::vector<at::Tensor> rows;
  for (int64_t b = 0; b < batch; ++b) {
    rows.push_back(keyed_normal({frames, 3, 16, 16}, 3, "test.pictures", static_cast<uint64_t>(b)));
  }
  return (at::stack(rows) * 40 + 128).clamp(0, 255).to(at::kByte);
}

/// B T A actions, all known, that differ from clip to clip.
inline ActionBatch actions(int64_t batch, int64_t frames, uint64_t stream = 0) {
  std::vector<at::Tensor> rows;
  for (int64_t b = 0; b < batch; ++b) {
    rows.push_back(keyed_normal({frames, 2}, 5 + stream, "test.actions", static_cast<uint64_t>(b))
                       .sign()
                       .clamp_min(0));
  }
  return {at::stack(rows), at::zeros({batch, frames}, at::kBool).logical_not()};
}

}  // namespace praxino::testing_world
