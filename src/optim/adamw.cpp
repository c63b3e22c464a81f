#include "optim/adamw.h"

#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/zeros_like.h>

namespace praxino {

AdamW::AdamW(Options options, const std::vector<Parameter>& parameters) : options_(options) {
  for (const Parameter& parameter : parameters) {
    names_.push_back(parameter.name);
    parameters_.push_back(parameter.value);
    copies_.push_back(parameter.copy);
    first_.push_back(at::zeros_like(parameter.value.detach()));
    second_.push_back(at::zeros_like(parameter.value.detach()));
  }
}

void AdamW::step(const std::vector<at::Tensor>& gradients, const GradientCheck& check,
                 const at::Tensor& steps, double rate) const {
  // Without memory there is nothing to change; the kernel below works in place, without
  // temporaries.
  if (parameters_.empty() || parameters_.front().is_meta()) return;
  // Every parameter takes every step, so one counter serves all. The kernel divides the gradients
  // by grad_scale, which is the clipping, and changes nothing at all where found_inf is 1.
  const std::vector<at::Tensor> counters(parameters_.size(), steps);
  at::_fused_adamw_(parameters_, gradients, first_, second_, /*max_exp_avg_sqs=*/{}, counters,
                    options_.peak_rate * rate, options_.betas[0], options_.betas[1],
                    options_.weight_decay, kEpsilon, /*amsgrad=*/false, /*maximize=*/false,
                    check.divisor, check.skipped);
  // Which the kernel leaves out: without it copies of the weights would seem to be theirs still.
  for (const at::Tensor& parameter : parameters_) parameter.unsafeGetTensorImpl()->bump_version();
}

std::vector<ops::UpdatedParameter> AdamW::updated() const {
  std::vector<ops::UpdatedParameter> updated;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    updated.push_back({.weight = parameters_[i].detach(),
                       .first = first_[i],
                       .second = second_[i],
                       .average = {},
                       .copy = copies_[i] ? copies_[i]->lend() : at::Tensor(),
                       .rate = options_.peak_rate,
                       .decay = options_.weight_decay});
  }
  return updated;
}

void AdamW::append_state(std::vector<std::pair<std::string, at::Tensor>>& state) const {
  for (size_t i = 0; i < names_.size(); ++i) {
    state.emplace_back("exp_avg." + names_[i], first_[i]);
    state.emplace_back("exp_avg_sq." + names_[i], second_[i]);
  }
}

}  // namespace praxino
