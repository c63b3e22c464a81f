#include "sharded_model.h"

#include "praxino/base/error.h"

namespace praxino {
namespace {

DataParallelOptions options_of(const ParallelConfig& config) {
  return {.bucket_bytes = config.bucket_mib << 20,
          .gradients = config.gradients == "bf16" ? at::kBFloat16 : at::kFloat};
}

}  // namespace

ShardedModel::ShardedModel(const Parameters& model, const ParallelConfig& config,
                           const Ranks& ranks)
    : ranks_(ranks), parallel_(model.values(), ranks.data(), options_of(config)) {
  for (size_t i = 0; i < model.all().size(); ++i) {
    if (!parallel_.owns(i)) continue;
    const Parameter& parameter = model.all()[i];
    at::Tensor own = own_.add(parameter.name, parallel_.owned()[i], parameter.role);
    own.requires_grad_(parameter.value.requires_grad());
  }
  if (ranks_.sum(own_.all().empty() ? 1 : 0) > 0) {
    fail_usage(
        "the model has too few parameter tensors ({}) to give each of {} data ranks some to "
        "update; start fewer ranks",
        model.all().size(), ranks_.data_ranks());
  }
}

SumOverRanks ShardedModel::sum_over_ranks() const {
  return [this](const at::Tensor& values) { ranks_.data().all_reduce(values).wait(); };
}

void ShardedModel::before_micro_batch(bool last) {
  settle();
  parallel_.before_backward(last);
}

void ShardedModel::finish_gradients(std::vector<std::pair<std::string, at::Tensor>>& scalars) {
  parallel_.reduce_gradients();
  for (size_t i = 0, own = 0; i < parallel_.owned().size(); ++i) {
    if (!parallel_.owns(i)) continue;
    at::Tensor value = own_.all()[own++].value;
    value.mutable_grad() = parallel_.owned()[i].grad();
    at::Tensor second = parallel_.owned()[i];
    second.mutable_grad() = at::Tensor();
  }
  std::vector<at::Tensor> values;
  for (const auto& [name, value] : scalars) values.push_back(value);
  ranks_.average(values);
  for (size_t i = 0; i < scalars.size(); ++i) scalars[i].second = values[i];
}

}  // namespace praxino
