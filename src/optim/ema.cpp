#include <ATen/core/grad_mode.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include "praxino/optim/optimizer.h"

namespace praxino {

Ema::Ema(double decay, const Parameters& parameters) : decay_(decay), parameters_(&parameters) {
  if (!enabled()) return;
  TORCH_CHECK(!parameters.all().empty(), "Ema: there are no parameters to average");
  for (const Parameter& parameter : parameters.all()) {
    average_.push_back(parameter.value.detach().clone());
  }
  updates_ = at::zeros({}, average_.front().options());
}

void Ema::update(const at::Tensor& skipped) {
  if (!enabled()) return;
  TORCH_CHECK(!swapped_, "Ema::update: the averaged weights are in use");
  const at::NoGradGuard no_grad;
  const at::Tensor taken = skipped.eq(0);
  // 1 - min(decay, (1 + n) / (10 + n)), written so that it does not cancel.
  const at::Tensor weight = (updates_ + 10).reciprocal_().mul_(9).clamp_min_(1 - decay_);
  for (size_t i = 0; i < average_.size(); ++i) {
    // A weight of zero would still turn -0 into +0: select instead.
    at::Tensor& average = average_[i];
    const at::Tensor next = at::lerp(average, parameters_->all()[i].value, weight);
    at::where_out(average, taken, next, average);
  }
  updates_.add_(taken);
}

std::vector<std::pair<std::string, at::Tensor>> Ema::averages() const {
  TORCH_CHECK(!swapped_, "Ema::averages: the averaged weights are in use");
  std::vector<std::pair<std::string, at::Tensor>> averages;
  for (size_t i = 0; i < average_.size(); ++i) {
    averages.emplace_back(parameters_->all()[i].name, average_[i]);
  }
  return averages;
}

void Ema::swap() {
  if (!enabled()) return;
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < average_.size(); ++i) {
    at::Tensor live = parameters_->all()[i].value;
    const at::Tensor kept = live.clone();
    live.copy_(average_[i]);
    average_[i].copy_(kept);
  }
  swapped_ = !swapped_;
}

}  // namespace praxino
