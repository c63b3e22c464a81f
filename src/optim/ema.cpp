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
  lent_.resize(average_.size());
  updates_ = at::zeros({}, average_.front().options());
}

void Ema::update(const at::Tensor& skipped) {
  if (!enabled()) return;
  const at::NoGradGuard no_grad;
  // 1 - min(decay, (1 + n) / (10 + n)), written so that it does not cancel.
  const at::Tensor weight = (updates_ + 10).reciprocal_().mul_(9).clamp_min_(1 - decay_);
  update_rest(skipped, weight);
  updates_.add_(skipped.eq(0));
}

void Ema::update_rest(const at::Tensor& skipped, const at::Tensor& weight) {
  if (!enabled()) return;
  TORCH_CHECK(!swapped_, "Ema::update: the averaged weights are in use");
  const at::NoGradGuard no_grad;
  at::Tensor taken;
  for (size_t i = 0; i < average_.size(); ++i) {
    if (lent_[i]) continue;
    if (!taken.defined()) taken = skipped.eq(0);
    // A weight of zero would still turn -0 into +0: select instead.
    at::Tensor& average = average_[i];
    const at::Tensor next = at::lerp(average, parameters_->all()[i].value, weight);
    at::where_out(average, taken, next, average);
  }
}

std::vector<at::Tensor> Ema::lend(const std::vector<at::Tensor>& parameters) {
  std::vector<at::Tensor> lent;
  if (!enabled()) return lent;
  for (const at::Tensor& parameter : parameters) {
    size_t i = 0;
    while (i < average_.size() && !parameters_->all()[i].value.is_same(parameter)) ++i;
    TORCH_CHECK(i < average_.size(), "Ema::lend: a parameter that is not averaged here");
    lent_[i] = true;
    lent.push_back(average_[i]);
  }
  return lent;
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
