#include "sharded_model.h"

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

// A split matrix is as large on every tensor rank as its largest part, so that the same replica
// owns its parts on all of them.
void ShardedModel::hold(const Parameters& model, const ParallelConfig& config, bool split) {
  Held held;
  DataParallelOptions options = options_of(config, ranks_);
  std::vector<at::Tensor> values;
  for (size_t i = 0; i < model.all().size(); ++i) {
    const Parameter& parameter = model.all()[i];
    if (parameter.slice.has_value() != split) continue;
    held.members.push_back(i);
    values.push_back(parameter.value);
    const int64_t along = split ? parameter.value.size(parameter.slice->dim) : 1;
    options.reserved.push_back(parameter.value.numel() / along *
                               (split ? parameter.slice->longest() : 1));
  }
  if (values.empty()) return;
  const Communicator& group = split ? ranks_.mesh().replicas() : ranks_.mesh().all();
  held.parallel = std::make_unique<DataParallel>(std::move(values), group, options);
  held_.push_back(std::move(held));
}

ShardedModel::ShardedModel(const Parameters& model, const ParallelConfig& config,
                           const Ranks& ranks)
    : ranks_(ranks) {
  for (const bool split : {false, true}) hold(model, config, split);
  std::vector<at::Tensor> owned(model.all().size());
  for (const Held& held : held_) {
    for (size_t i = 0; i < held.members.size(); ++i) {
      if (held.parallel->owns(i)) owned[held.members[i]] = held.parallel->owned()[i];
    }
  }
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

OptimizerRanks ShardedModel::optimizer_ranks() const {
  return {.sum = [this](const at::Tensor& v) { ranks_.mesh().all().all_reduce(v).wait(); },
          .tensor = ranks_.mesh().tensor()};
}

void ShardedModel::before_micro_batch(bool last) {
  settle();
  for (const Held& held : held_) held.parallel->before_backward(last);
}

void ShardedModel::finish_gradients(std::vector<std::pair<std::string, at::Tensor>>& scalars) {
  for (const Held& held : held_) held.parallel->reduce_gradients();
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

void ShardedModel::start_sharing_weights() {
  for (const Held& held : held_) held.parallel->gather_weights();
}

void ShardedModel::settle() {
  for (const Held& held : held_) held.parallel->wait_for_weights();
}

}  // namespace praxino
