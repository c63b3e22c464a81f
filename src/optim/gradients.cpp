#include "optim/gradients.h"

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

namespace praxino {

std::vector<at::Tensor> gather_gradients(const std::vector<at::Tensor>& parameters) {
  const bool any = std::any_of(parameters.begin(), parameters.end(),
                               [](const at::Tensor& p) { return p.grad().defined(); });
  TORCH_CHECK(any,
              "Optimizer::step: no parameter has a gradient; call backward() on the loss first");
  std::vector<at::Tensor> gradients;
  gradients.reserve(parameters.size());
  for (const at::Tensor& parameter : parameters) {
    const at::Tensor& gradient = parameter.grad();
    gradients.push_back(gradient.defined() ? gradient.detach().contiguous()
                                           : at::zeros_like(parameter.detach()));
  }
  return gradients;
}

GradientCheck check_gradients(const std::vector<at::Tensor>& gradients, const at::Tensor& loss,
                              double clip, const SumOverRanks& sum) {
  GradientCheck check;
  check.norm = at::stack(at::_foreach_norm(gradients, 2)).norm();
  if (sum) {
    const at::Tensor square = check.norm.square();
    sum(square);
    check.norm = square.sqrt();
  }
  check.divisor = clip > 0 ? (check.norm / clip).clamp_min_(1) : at::ones_like(check.norm);
  check.finite = at::isfinite(check.norm)
                     .logical_and_(at::isfinite(loss.detach().to(check.norm.device())).all());
  check.skipped = check.finite.logical_not().to(at::kFloat);
  return check;
}

void clear_gradients(const std::vector<at::Tensor>& parameters) {
  for (const at::Tensor& parameter : parameters) parameter.mutable_grad() = at::Tensor();
}

}  // namespace praxino
