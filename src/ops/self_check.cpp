#include "self_check.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/ones_like.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>

#include "check_watch.h"
#include "praxino/base/error.h"
#include "praxino/base/first_line.h"
#include "praxino/base/log.h"

namespace praxino::ops {
namespace {

using at::Tensor;

struct Outcome {
  Tensor result;
  std::vector<Tensor> gradients;  // undefined for inputs without
};

Outcome outcome_of(const Operation& operation, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> leaves, asked;
  for (const Tensor& input : inputs) {
    leaves.push_back(input.detach().clone());  // an operation may work in place
    if (leaves.back().is_floating_point()) asked.push_back(leaves.back().requires_grad_());
  }
  const Tensor result = operation(leaves);
  Outcome outcome{result.detach(), std::vector<Tensor>(inputs.size())};
  if (!result.requires_grad()) return outcome;
  const Tensor weight = wave(result.sizes(), 0.3, result.options());
  auto found = torch::autograd::grad({result}, asked, {weight}, std::nullopt, false, true);
  for (size_t i = 0, next = 0; i < inputs.size(); ++i) {
    if (leaves[i].is_floating_point()) outcome.gradients[i] = found[next++];
  }
  return outcome;
}

/// Of the largest difference, relative to the largest value; a NaN in either is kept.
double error_of(const Tensor& got, const Tensor& want) {
  if (want.numel() == 0) return 0;
  const Tensor reference = want.to(at::kDouble);
  const double scale = std::max(reference.abs().max().item<double>(), 1e-30);
  const double error = (got.to(at::kDouble) - reference).abs().max().item<double>();
  return std::abs(error) / scale;  // the sign of a NaN says nothing
}

/// Takes a pair of tensors into account; `what` is "the result" or "the gradient of input 1".
void compare_tensors(const std::string& what, const Tensor& got, const Tensor& want,
                     double tolerance, Finding& finding) {
  if (!finding.agrees() || (!got.defined() && !want.defined())) return;
  if (got.defined() != want.defined()) {
    finding.difference = fmt::format("{} is {}", what, got.defined() ? "not asked for" : "missing");
  } else if (got.sizes() != want.sizes()) {
    finding.difference = what + " has another shape";
  } else {
    const double error = error_of(got, want);
    if (!(error <= finding.error)) finding.error = error;
    const double allowed = want.is_floating_point() ? tolerance : 0;
    if (!(error <= allowed)) finding.difference = fmt::format("{} is off by {:.2g}", what, error);
  }
}

void compare_case(const SelfCheck& check, const std::vector<Tensor>& inputs, Finding& finding) {
  const Outcome got = outcome_of(check.kernel, inputs), want = outcome_of(check.formula, inputs);
  compare_tensors("the result", got.result, want.result, check.tolerance, finding);
  for (size_t i = 0; i < inputs.size(); ++i) {
    compare_tensors(fmt::format("the gradient of input {}", i), got.gradients[i], want.gradients[i],
                    check.tolerance, finding);
  }
}

}  // namespace

Tensor wave(at::IntArrayRef sizes, double phase, const at::TensorOptions& options) {
  const int64_t count = c10::multiply_integers(sizes);
  const Tensor number = at::arange(count, at::TensorOptions(at::kDouble).device(options.device()));
  return (number * 0.7 + phase).sin().view(sizes).to(options);
}

Tensor noise(at::IntArrayRef sizes, double phase, const at::TensorOptions& options) {
  return wave(sizes, phase, options.dtype(at::kDouble)).mul(9973).sin().to(options);
}

Finding compare(const SelfCheck& check) {
  const at::AutoGradMode enabled(true);
  const auto begin = std::chrono::steady_clock::now();
  Finding finding;
  try {
    for (const std::vector<Tensor>& inputs : check.cases) {
      if (finding.agrees()) compare_case(check, inputs, finding);
    }
  } catch (const std::exception& error) {
    finding.difference = first_line(error);
    if (finding.difference.empty()) finding.difference = "it failed without a word";
  }
  finding.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return finding;
}

void require_alive(const at::Device& device, const std::string& what, const std::string& family) {
  std::string text;
  try {
    const at::Tensor one = at::ones({1}, at::TensorOptions(at::kFloat).device(device));
    if ((one + one).item<float>() == 2) return;
    text = "1 + 1 is not 2";
  } catch (const std::exception& error) {
    text = first_line(error);
  }
  fail(
      "{} has left the device unusable ({}); start again with kernels.{}=off, which takes "
      "LibTorch's operations instead",
      what, text, family);
}

size_t Trust::place(const at::Device& device, at::ScalarType type) {
  const auto number = static_cast<size_t>(std::max<int>(device.index(), 0));
  return 2 * number + (type == at::kBFloat16 ? 1 : 0);
}

bool Trust::holds(const at::Device& device, at::ScalarType type,
                  const std::function<SelfCheck(at::TensorOptions)>& make) {
  const size_t at = place(device, type);
  if (at >= verdicts_.size()) return false;
  std::atomic<int>& verdict = verdicts_[at];
  if (verdict == kUnknown) {
    const std::scoped_lock lock(mutex_);
    if (verdict == kUnknown) {
      const std::string what =
          fmt::format("the kernel of {} ({}) on {}", operation_, c10::toString(type), device.str());
      const CheckWatch watch(what, family_);
      const Finding found = compare(make(at::TensorOptions(type).device(device)));
      if (!found.agrees()) {
        require_alive(device, what, family_);
        log::warning(
            "{} does not agree with its formula: {}; a kernel of a lower tier or the formula is "
            "used instead, which is slower",
            what, found.difference);
      }
      findings_[at] = found;
      verdict = found.agrees() ? kAgrees : kDisagrees;
    }
  }
  return verdict == kAgrees;
}

std::optional<Finding> Trust::finding(const at::Device& device, at::ScalarType type) const {
  const std::scoped_lock lock(mutex_);
  const auto found = findings_.find(place(device, type));
  if (found == findings_.end()) return std::nullopt;
  return found->second;
}

}  // namespace praxino::ops
