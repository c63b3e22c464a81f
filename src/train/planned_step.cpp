#include "planned_step.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <optional>

#include "batch_feed.h"
#include "micro_batch.h"
#include "praxino/ops/planned_device.h"
#include "praxino/optim/optimizer.h"
#include "sharded_model.h"

namespace praxino {
namespace {

void mark_gradients(const Parameters& parameters, AllocationLog& log) {
  for (const Parameter& parameter : parameters.all()) {
    if (parameter.value.grad().defined()) log.mark(parameter.value.grad(), MemoryKind::kGradients);
  }
}

/// Micro-batches that are planned: the first, one like all in the middle, and the last.
constexpr int64_t kPlannedParts = 3;

/// What the first rank sends in a step, by group.
class Sent {
 public:
  explicit Sent(const Mesh& mesh) {
    const bool plain = mesh.shape().ranks() == mesh.shape().data;
    add(plain ? "data" : "all", mesh.all(), "gradients, to their owners",
        "weights, from their owners");
    if (mesh.shape().tensor > 1) {
      add("replicas", mesh.replicas(), "gradients of split matrices", "split matrices");
      add("tensor", mesh.tensor(), "tokens, their terms summed",
          "tokens gathered, and matrices for Muon");
    }
    if (mesh.shape().context > 1)
      add("context", mesh.context(), "", "tokens: frames for places or heads");
    ends_.push_back(now());
  }
  void part_ends() { ends_.push_back(now()); }
  /// Of a step of `parts` micro-batches, of which kPlannedParts at most have ended.
  std::vector<Traffic> in_step(int64_t parts) const {
    const std::vector<PlannedBytes> total = now();
    std::vector<Traffic> traffic;
    for (size_t i = 0; i < groups_.size(); ++i) {
      const auto bytes = [&](double PlannedBytes::*kind) {
        const double planned = total[i].*kind - ends_.front()[i].*kind;
        if (parts <= kPlannedParts) return planned;
        const double middle = ends_[2][i].*kind - ends_[1][i].*kind;
        return planned + middle * static_cast<double>(parts - kPlannedParts);
      };
      const Group& g = groups_[i];
      add_line(traffic, g, g.summed, bytes(&PlannedBytes::summed));
      add_line(traffic, g, g.moved, bytes(&PlannedBytes::moved));
    }
    return traffic;
  }

 private:
  struct Group {
    std::string axis;
    Communicator ranks;
    std::string summed, moved;  // what
  };
  void add(std::string axis, const Communicator& ranks, std::string summed, std::string moved) {
    if (ranks.size() > 1)
      groups_.push_back({std::move(axis), ranks, std::move(summed), std::move(moved)});
  }
  static void add_line(std::vector<Traffic>& to, const Group& g, const std::string& kind,
                       double bytes) {
    if (bytes > 0) to.push_back({.axis = g.axis, .kind = kind, .bytes = bytes});
  }
  std::vector<PlannedBytes> now() const {
    std::vector<PlannedBytes> all;
    for (const Group& group : groups_) all.push_back(group.ranks.planned_bytes());
    return all;
  }
  std::vector<Group> groups_;
  std::vector<std::vector<PlannedBytes>> ends_;  // of the start, and of each part
};

}  // namespace

PlannedStep plan_step(const RunConfig& config, const std::vector<ActionField>& fields,
                      const StepPlanOptions& options) {
  const auto log = std::make_shared<AllocationLog>();
  std::optional<Listening> listening(std::in_place, log);
  const ops::PlannedDevice device(options.device);
  log->begin_phase("start", MemoryKind::kWeights);
  const std::shared_ptr<const Mesh> mesh =
      Mesh::planned(options.mesh, /*over_gloo=*/options.device == at::kCPU);
  const Ranks ranks(mesh);
  const World world =
      plan_world(config, fields, options.bf16,
                 {.ranks = ranks.model_ranks(), .drawn = !shards_weights(config.parallel, ranks)});
  std::optional<ShardedModel> sharded;
  if (ranks.several()) sharded.emplace(*world.model, config.parallel, ranks);
  if (!shards_weights(config.parallel, ranks)) world.model->keep_copies();
  const Parameters& parameters = sharded ? sharded->own() : world.model->parameters();
  log->begin_phase("start", MemoryKind::kMoments);
  const auto optimizer = make_optimizer(config.optim, parameters,
                                        sharded ? sharded->optimizer_ranks() : OptimizerRanks());
  log->begin_phase("start", MemoryKind::kAverages);
  Ema averages(config.optim.ema, parameters);
  if (sharded) {  // as the step before has
    sharded->start_sharing_weights();
  } else {
    refresh_copies(parameters);
  }
  Sent sent(*mesh);

  PlannedStep plan;
  plan.lasting = log->live();
  at::Tensor total = at::zeros({}, at::TensorOptions().device(at::kMeta));
  const int64_t parts = config.optim.gradient_accumulation;
  const int64_t run = std::min(parts, kPlannedParts);
  for (int64_t part = 0; part < run; ++part) {
    log->begin_phase("batch", MemoryKind::kBatch);
    const Batch batch = empty_batch(config.data, config.data.batch,
                                    static_cast<int64_t>(fields.size()), 0, at::kMeta);
    log->begin_phase("forward and backward pass", MemoryKind::kActivations);
    if (sharded) sharded->before_micro_batch(part + 1 == run);
    total += run_micro_batch(world, batch, parts).total.detach();
    mark_gradients(world.model->parameters(), *log);
    sent.part_ends();
  }
  std::vector<std::pair<std::string, at::Tensor>> scalars = {{"loss", total}};
  if (sharded) sharded->finish_gradients(scalars);
  mark_gradients(parameters, *log);
  log->begin_phase("update", MemoryKind::kUpdate);
  const StepStats stats = optimizer->step(total, 1);
  averages.update(stats.skipped);
  if (sharded) sharded->start_sharing_weights();
  plan.traffic = sent.in_step(parts);

  plan.log = log;
  plan.peak = log->peak();
  plan.activations = log->highest(MemoryKind::kActivations);
  plan.forward_flops = world.model->forward_flops(config.data.clip_frames);
  listening.reset();  // the cache is no part of a step
  plan.rollout_cache = world.model->make_cache(config.eval.batch)->bytes();
  plan.parameters = world.model->parameters().count();
  for (const at::Tensor& value : world.model->parameters().values())
    plan.parameters_a_rank += value.numel();
  return plan;
}

}  // namespace praxino
