#include "sharded_model.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "praxino/base/error.h"

namespace praxino {
namespace {

DataParallelOptions options_of(const ParallelConfig& config, const Ranks& ranks) {
  return {.bucket_bytes = config.bucket_mib << 20,
          .gradients = config.gradients == "bf16" ? at::kBFloat16 : at::kFloat,
          .averaged_over = ranks.data_ranks(),
          .reserved = {}};
}

}  // namespace

bool shards_weights(const ParallelConfig& config, const Ranks& ranks) {
  return config.shard_weights && ranks.several();
}

void check_sharding(const RunConfig& config) {
  if (config.parallel.shard_weights && !config.model.activation_checkpointing) {
    fail_usage(
        "parallel.shard_weights needs model.activation_checkpointing: true: without it the "
        "backward pass would keep every block's weights alive; set both, or neither");
  }
}

// A split matrix is as large on every tensor rank as its largest part, so that the same replica
// owns its parts on all of them.
void ShardedModel::hold(const ParallelConfig& config, bool split) {
  const Parameters& model = model_.parameters();
  Held held;
  DataParallelOptions options = options_of(config, ranks_);
  std::vector<at::Tensor> values;
  std::vector<int64_t> blocks;
  for (size_t i = 0; i < model.all().size(); ++i) {
    const Parameter& parameter = model.all()[i];
    if (parameter.slice.has_value() != split) continue;
    held.members.push_back(i);
    values.push_back(parameter.value);
    blocks.push_back(model_.block_of_parameters()[i]);
    const int64_t along = split ? parameter.value.size(parameter.slice->dim) : 1;
    options.reserved.push_back(parameter.value.numel() / along *
                               (split ? parameter.slice->longest() : 1));
  }
  if (values.empty()) return;
  const Communicator& group = split ? ranks_.mesh().replicas() : ranks_.mesh().all();
  if (config.shard_weights) {
    held.parallel = std::make_unique<WeightShards>(
        UnitParameters{.values = std::move(values), .units = std::move(blocks)}, group, options);
  } else {
    held.parallel = std::make_unique<DataParallel>(std::move(values), group, options);
  }
  held_.push_back(std::move(held));
}

CheckpointHooks ShardedModel::hooks_of(int64_t block) const {
  const auto each = [this](const auto& call) {
    for (const Held& held : held_) call(*held.shards());
  };
  return {.before =
              [=](Pass pass) {
                each([&](WeightShards& shards) { shards.bring(block, pass == Pass::kBackward); });
              },
          .after =
              [=](Pass pass) {
                each([&](WeightShards& shards) { shards.release(block, pass == Pass::kBackward); });
              }};
}

ShardedModel::ShardedModel(WorldModel& world_model, const ParallelConfig& config,
                           const Ranks& ranks)
    : model_(world_model), ranks_(ranks) {
  const Parameters& model = model_.parameters();
  for (const bool split : {false, true}) hold(config, split);
  if (config.shard_weights) {
    model_.tell_blocks([this](int64_t block) { return hooks_of(block); });
  }
  std::vector<at::Tensor> owned(model.all().size());
  std::vector<float> numbers;
  for (const Held& held : held_) {
    for (const size_t member : held.members) numbers.push_back(static_cast<float>(member + 1));
    const auto& own = held.with([](auto& p) -> const auto& { return p.owned(); });
    for (size_t i = 0; i < held.members.size(); ++i) owned[held.members[i]] = own[i];
  }
  numbers_ = at::tensor(numbers).to(model.all().front().value.device());
  for (size_t i = 0; i < owned.size(); ++i) {
    if (!owned[i].defined()) continue;
    const Parameter& parameter = model.all()[i];
    at::Tensor own = own_.add(parameter.name, owned[i], parameter.role, parameter.slice);
    own.requires_grad_(parameter.value.requires_grad());
    owned_.push_back(owned[i]);
  }
  if (ranks_.sum(own_.all().empty() ? 1 : 0) > 0) {
    fail_usage(
        "the model has too few parameter tensors ({}) to give each of {} ranks some to update; "
        "start fewer ranks",
        model.all().size(), ranks_.mesh().ranks());
  }
}

ShardedModel::~ShardedModel() { model_.tell_blocks({}); }

OptimizerRanks ShardedModel::optimizer_ranks() const {
  return {.sum = [this](const at::Tensor& v) { ranks_.mesh().all().all_reduce(v).wait(); },
          .tensor = ranks_.mesh().tensor()};
}

void ShardedModel::before_micro_batch(bool last) {
  settle();
  for (const Held& held : held_) held.with([last](auto& p) { p.before_backward(last); });
}

void ShardedModel::finish_gradients(std::vector<std::pair<std::string, at::Tensor>>& scalars) {
  for (const Held& held : held_) held.with([](auto& p) { p.reduce_gradients(); });
  find_spoiled();
  for (size_t i = 0; i < owned_.size(); ++i) {
    at::Tensor value = own_.all()[i].value;
    value.mutable_grad() = owned_[i].grad();
    owned_[i].mutable_grad() = at::Tensor();
  }
  std::vector<at::Tensor> values;
  for (const auto& [name, value] : scalars) values.push_back(value);
  ranks_.average(values);
  for (size_t i = 0; i < scalars.size(); ++i) scalars[i].second = values[i];
}

// Ranks that share a model exchange activations and their gradients: what one of them has spoiled
// reaches the others in the layers that backward comes to afterwards. Each model has a place in the
// vector that all ranks compare.
void ShardedModel::find_spoiled() {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> norms;
  for (const Held& held : held_) {
    norms.push_back(held.with([](auto& p) -> const auto& { return p.own_norms(); }));
  }
  spoiled_ = at::isfinite(at::cat(norms)).logical_not_().to(at::kFloat).mul_(numbers_).amax();
  if (!ranks_.model_ranks().several()) return;
  const at::Tensor firsts = at::zeros({ranks_.data_ranks()}, spoiled_.options());
  const at::Tensor first = firsts[ranks_.data_rank()];
  first.copy_(spoiled_);
  ranks_.mesh().all().all_reduce(firsts, Reduce::kMax).wait();
  spoiled_.mul_(spoiled_.eq(first));
}

void ShardedModel::start_sharing_weights() {
  forget_copies(model_.parameters());
  for (const Held& held : held_) held.with([](auto& p) { p.gather_weights(); });
}

void ShardedModel::settle() {
  for (const Held& held : held_) held.with([](auto& p) { p.wait_for_weights(); });
  refresh_copies(model_.parameters());
}

}  // namespace praxino
