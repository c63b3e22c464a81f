#include "planned_step.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "micro_batch.h"
#include "praxino/ops/planned_device.h"
#include "praxino/optim/optimizer.h"

namespace praxino {
namespace {

at::TensorOptions without_memory(at::ScalarType type) {
  return at::TensorOptions().dtype(type).device(at::kMeta);
}

Batch planned_batch(const RunConfig& config, int64_t actions) {
  const DataConfig& data = config.data;
  Batch batch;
  batch.frames = at::empty({data.batch, data.clip_frames, 3, data.size[0], data.size[1]},
                           without_memory(at::kByte));
  batch.actions = at::empty({data.batch, data.clip_frames, actions}, without_memory(at::kFloat));
  batch.known = at::empty({data.batch, data.clip_frames}, without_memory(at::kBool));
  batch.samples.resize(static_cast<size_t>(data.batch));
  std::iota(batch.samples.begin(), batch.samples.end(), int64_t{0});
  return batch;
}

void mark_gradients(const World& world, AllocationLog& log) {
  for (const Parameter& parameter : world.model->parameters().all()) {
    if (parameter.value.grad().defined()) log.mark(parameter.value.grad(), MemoryKind::kGradients);
  }
}

}  // namespace

PlannedStep plan_step(const RunConfig& config, const std::vector<ActionField>& fields,
                      const StepPlanOptions& options) {
  const auto log = std::make_shared<AllocationLog>();
  std::optional<Listening> listening(std::in_place, log);
  const ops::PlannedDevice device(options.device);
  log->begin_phase("start", MemoryKind::kWeights);
  const World world = plan_world(config, fields, options.bf16);
  const Parameters& parameters = world.model->parameters();
  log->begin_phase("start", MemoryKind::kMoments);
  const auto optimizer = make_optimizer(config.optim, parameters);
  log->begin_phase("start", MemoryKind::kAverages);
  Ema averages(config.optim.ema, parameters);

  PlannedStep plan;
  plan.lasting = log->live();
  at::Tensor total = at::zeros({}, without_memory(at::kFloat));
  const int64_t parts = config.optim.gradient_accumulation;
  for (int64_t part = 0; part < std::min<int64_t>(parts, 2); ++part) {
    log->begin_phase("batch", MemoryKind::kBatch);
    const Batch batch = planned_batch(config, static_cast<int64_t>(fields.size()));
    log->begin_phase("forward and backward pass", MemoryKind::kActivations);
    total += run_micro_batch(world, batch, parts).total.detach();
    mark_gradients(world, *log);
  }
  plan.gradients = log->live().of(MemoryKind::kGradients);
  log->begin_phase("update", MemoryKind::kUpdate);
  const StepStats stats = optimizer->step(total, 1);
  averages.update(stats.skipped);

  plan.log = log;
  plan.peak = log->peak();
  plan.activations = log->highest(MemoryKind::kActivations);
  plan.forward_flops = world.model->forward_flops(config.data.clip_frames);
  listening.reset();  // the cache is no part of a step
  plan.rollout_cache = world.model->make_cache(config.eval.batch)->bytes();
  for (const Parameter& parameter : parameters.all()) {
    (parameter.role == ParameterRole::kMatrix ? plan.matrices : plan.others) +=
        parameter.value.numel();
  }
  return plan;
}

}  // namespace praxino
