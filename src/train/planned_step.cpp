#include "planned_step.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "micro_batch.h"
#include "praxino/ops/planned_device.h"
#include "praxino/optim/optimizer.h"
#include "sharded_model.h"

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

void mark_gradients(const Parameters& parameters, AllocationLog& log) {
  for (const Parameter& parameter : parameters.all()) {
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
  const std::shared_ptr<const Mesh> mesh = Mesh::planned({.data = options.weight_ranks});
  const Ranks ranks(mesh);
  std::optional<ShardedModel> sharded;
  if (ranks.several()) sharded.emplace(*world.model, config.parallel, ranks);
  const Parameters& parameters = sharded ? sharded->own() : world.model->parameters();
  log->begin_phase("start", MemoryKind::kMoments);
  const auto optimizer = make_optimizer(config.optim, parameters,
                                        sharded ? sharded->optimizer_ranks() : OptimizerRanks());
  log->begin_phase("start", MemoryKind::kAverages);
  Ema averages(config.optim.ema, parameters);
  if (sharded) sharded->start_sharing_weights();  // as the step before has
  log->forget_peak();                             // whole weights, before they are shared out
  const double sent_at_start = mesh->all().planned_bytes();

  PlannedStep plan;
  plan.lasting = log->live();
  at::Tensor total = at::zeros({}, without_memory(at::kFloat));
  const int64_t parts = config.optim.gradient_accumulation;
  // The third part is like the second.
  const int64_t run = sharded ? parts : std::min<int64_t>(parts, 2);
  for (int64_t part = 0; part < run; ++part) {
    log->begin_phase("batch", MemoryKind::kBatch);
    const Batch batch = planned_batch(config, static_cast<int64_t>(fields.size()));
    log->begin_phase("forward and backward pass", MemoryKind::kActivations);
    if (sharded) sharded->before_micro_batch(part + 1 == run);
    total += run_micro_batch(world, batch, parts).total.detach();
    mark_gradients(world.model->parameters(), *log);
  }
  std::vector<std::pair<std::string, at::Tensor>> scalars = {{"loss", total}};
  if (sharded) sharded->finish_gradients(scalars);
  mark_gradients(parameters, *log);
  plan.gradients = log->live().of(MemoryKind::kGradients);
  log->begin_phase("update", MemoryKind::kUpdate);
  const StepStats stats = optimizer->step(total, 1);
  averages.update(stats.skipped);
  if (sharded) sharded->start_sharing_weights();
  plan.sent = mesh->all().planned_bytes() - sent_at_start;

  plan.log = log;
  plan.peak = log->peak();
  plan.activations = log->highest(MemoryKind::kActivations);
  plan.forward_flops = world.model->forward_flops(config.data.clip_frames);
  listening.reset();  // the cache is no part of a step
  plan.rollout_cache = world.model->make_cache(config.eval.batch)->bytes();
  const std::vector<Parameter>& all = world.model->parameters().all();
  for (size_t i = 0; i < all.size(); ++i) {
    const int64_t count = all[i].value.numel();
    (all[i].role == ParameterRole::kMatrix ? plan.matrices : plan.others) += count;
    if (world.model->block_of_parameters()[i] >= 0) plan.in_blocks += count;
  }
  return plan;
}

}  // namespace praxino
