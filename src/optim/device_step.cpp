#include "optim/device_step.h"

#include <ATen/ops/empty.h>

namespace praxino {
namespace {

using at::Tensor;
using Updated = std::vector<ops::UpdatedParameter>;

// With their averages, which are updated here from now on.
Updated with_averages(Updated parameters, const std::vector<Tensor>& handles, Ema* averages) {
  if (averages == nullptr || !averages->enabled()) return parameters;
  const std::vector<Tensor> lent = averages->lend(handles);
  for (size_t i = 0; i < parameters.size(); ++i) parameters[i].average = lent[i];
  return parameters;
}

std::vector<Tensor> at_positions(const std::vector<Tensor>& all,
                                 const std::vector<size_t>& positions) {
  std::vector<Tensor> picked;
  for (const size_t position : positions) picked.push_back(all[position]);
  return picked;
}

Updated joined(const AdamW& first, const AdamW& second, Ema* averages) {
  Updated all = with_averages(first.updated(), first.parameters(), averages);
  const Updated rest = with_averages(second.updated(), second.parameters(), averages);
  all.insert(all.end(), rest.begin(), rest.end());
  return all;
}

}  // namespace

DeviceStep::DeviceStep(const OptimConfig& config, const Muon& muon, const AdamW& decayed,
                       const AdamW& plain, Ema* averages)
    : config_(config),
      averages_(averages),
      whole_muon_(muon),
      adamw_(joined(decayed, plain, averages)),
      muon_count_(muon.parameters().size()) {
  for (const Muon::Group& group : muon.groups()) {
    const std::vector<Tensor> handles = at_positions(muon.parameters(), group.members);
    muon_.push_back(
        {.update = ops::ParameterUpdate(with_averages(muon.updated(group), handles, averages)),
         .members = group.members,
         .group = &group});
  }
}

// The norm goes over all gradients: first muon's groups, then the rest.
ops::StepValues DeviceStep::judge(const std::vector<std::vector<Tensor>>& gradients,
                                  const StepScalars& scalars, const SumOverRanks& sum) const {
  int64_t count = adamw_.sums();
  for (const MuonGroup& group : muon_) count += group.update.sums();
  Tensor sums = at::empty({count}, scalars.steps.options());
  int64_t begin = 0;
  const auto add = [&](const ops::ParameterUpdate& update, const std::vector<Tensor>& of) {
    update.squared_sums(of, sums.narrow(0, begin, update.sums()));
    begin += update.sums();
  };
  for (size_t i = 0; i < muon_.size(); ++i) add(muon_[i].update, gradients[i]);
  add(adamw_, gradients.back());
  if (sum) {  // this rank's squares as one float
    sums = sums.sum(at::kDouble).to(at::kFloat).view({1});
    sum(sums);
  }
  const bool averaging = averages_ != nullptr && averages_->enabled();
  const Tensor loss = scalars.loss.detach().to(scalars.steps.device(), at::kFloat);
  return ops::step_values(sums, loss, scalars.rate, scalars.steps,
                          averaging ? averages_->updates() : Tensor(),
                          {.clip = config_.clip,
                           .betas = config_.betas,
                           .average_decay = averaging ? averages_->decay() : 0});
}

StepStats DeviceStep::step(const std::vector<Tensor>& gradients, const StepScalars& scalars,
                           const SumOverRanks& sum) const {
  std::vector<std::vector<Tensor>> parts;
  for (const MuonGroup& group : muon_) parts.push_back(at_positions(gradients, group.members));
  parts.emplace_back(gradients.begin() + static_cast<std::ptrdiff_t>(muon_count_), gradients.end());

  const ops::StepValues values = judge(parts, scalars, sum);
  if (averages_ != nullptr) averages_->update_rest(values.skipped(), values.average_weight());
  for (size_t i = 0; i < muon_.size(); ++i) {
    const MuonGroup& group = muon_[i];
    const Tensor directions = group.update.momentum(parts[i], values, config_.momentum);
    const Tensor batch = directions.view(group.group->momentum.sizes());
    const Tensor orthogonal = whole_muon_.orthogonal(batch, *group.group).contiguous();
    group.update.apply(orthogonal, values, group.group->scale());
  }
  adamw_.adamw(parts.back(), values, config_.betas, AdamW::kEpsilon);
  return {.gradient_norm = values.norm(), .skipped = values.skipped()};
}

}  // namespace praxino
