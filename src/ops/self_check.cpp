#include "self_check.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones_like.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <exception>

#include "praxino/base/log.h"

namespace praxino::ops {
namespace {

using at::Tensor;

struct Outcome {
  Tensor result;
  std::vector<Tensor> gradients;
};

Outcome outcome_of(const Operation& operation, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> leaves;
  for (const Tensor& input : inputs) leaves.push_back(input.detach().requires_grad_());
  const Tensor result = operation(leaves);
  const Tensor weight = wave(result.sizes(), 0.3, result.options());
  return {result.detach(), torch::autograd::grad({result}, leaves, {weight})};
}

/// Of the largest difference, relative to the largest value; a NaN in either is kept.
double error_of(const Tensor& got, const Tensor& want) {
  const Tensor reference = want.to(at::kDouble);
  const double scale = std::max(reference.abs().max().item<double>(), 1e-30);
  const double error = (got.to(at::kDouble) - reference).abs().max().item<double>();
  return std::abs(error) / scale;  // the sign of a NaN says nothing
}

std::string difference_in(const SelfCheck& check, const std::vector<Tensor>& inputs) {
  const Outcome got = outcome_of(check.kernel, inputs), want = outcome_of(check.formula, inputs);
  const auto off = [&](double error) { return !(error <= check.tolerance); };  // NaN, too
  if (got.result.sizes() != want.result.sizes()) return "the result has another shape";
  if (const double error = error_of(got.result, want.result); off(error))
    return fmt::format("the result is off by {:.2g}", error);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (const double error = error_of(got.gradients[i], want.gradients[i]); off(error))
      return fmt::format("the gradient of input {} is off by {:.2g}", i, error);
  }
  return {};
}

}  // namespace

Tensor wave(at::IntArrayRef sizes, double phase, const at::TensorOptions& options) {
  const int64_t count = c10::multiply_integers(sizes);
  const Tensor number = at::arange(count, at::TensorOptions(at::kDouble).device(options.device()));
  return (number * 0.7 + phase).sin().view(sizes).to(options);
}

std::string difference(const SelfCheck& check) {
  const at::AutoGradMode enabled(true);
  try {
    for (const std::vector<Tensor>& inputs : check.cases) {
      std::string found = difference_in(check, inputs);
      if (!found.empty()) return found;
    }
  } catch (const std::exception& error) {
    const std::string text = error.what();
    return text.substr(0, text.find('\n'));
  }
  return {};
}

bool Trust::holds(const at::Device& device, at::ScalarType type,
                  const std::function<SelfCheck(at::TensorOptions)>& make) {
  const int number = std::max<int>(device.index(), 0);
  if (number >= kDevices) return false;
  std::atomic<int>& verdict =
      verdicts_[static_cast<size_t>(2 * number + (type == at::kBFloat16 ? 1 : 0))];
  if (verdict == kUnknown) {
    const std::scoped_lock lock(mutex_);
    if (verdict == kUnknown) {
      const std::string found = difference(make(at::TensorOptions(type).device(device)));
      if (!found.empty()) {
        log::warning(
            "the kernel of {} ({}) does not agree with its formula on {}: {}; the formula "
            "is used instead, which is slower",
            operation_, c10::toString(type), device.str(), found);
      }
      verdict = found.empty() ? kAgrees : kDisagrees;
    }
  }
  return verdict == kAgrees;
}

}  // namespace praxino::ops
