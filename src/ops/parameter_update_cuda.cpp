// With what the kernels of the optimizer are checked on a device.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "kernel_registry.h"
#include "praxino/ops/parameter_update.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using Inputs = std::vector<Tensor>;  // weight, moments (or momentum and directions), gradient

constexpr double kRate = 0.1, kFactor = 0.5, kDecay = 0.2, kEpsilon = 1e-8, kMomentum = 0.95,
                 kScale = 1.5, kClip = 2;
constexpr std::array<double, 2> kBetas = {0.9, 0.99};
constexpr double kTolerance = 1e-5;  // float arithmetic, whatever the type of the gradients
// Sizes that 16-byte accesses divide, and others; several chunks.
constexpr int64_t kSizes[] = {64, 37, 20'001};

Tensor scalar(double value, const Tensor& beside) {
  return at::full({}, value, beside.options().dtype(at::kFloat));
}

struct Judged {
  StepValues values;
  Tensor steps;
};

Judged judge(const ParameterUpdate& update, const Tensor& gradient) {
  const Tensor sums = at::zeros({update.sums()}, gradient.options().dtype(at::kFloat));
  update.squared_sums({gradient}, sums);
  const Tensor steps = scalar(2, gradient);
  return {step_values(sums, scalar(1, gradient), scalar(kFactor, gradient), steps, {},
                      {.clip = kClip, .betas = kBetas}),
          steps};
}

Tensor clipped(const Tensor& gradient) {
  const Tensor g = gradient.to(at::kFloat);
  return g * (kClip / g.norm()).clamp_max(1);
}

// The kernels work in place, without a graph.
Operation without_graph(Tensor (*operation)(const Inputs&)) {
  return [operation](const Inputs& in) {
    const at::NoGradGuard no_grad;
    Inputs own;
    for (const Tensor& tensor : in) own.push_back(tensor.detach().clone());
    return operation(own);
  };
}

Tensor copy_for(const Tensor& weight) {
  return at::zeros(weight.sizes(), weight.options().dtype(at::kBFloat16));
}

// 1 where the copy is not the weight, rounded.
Tensor wrong(const Tensor& copy, const Tensor& weight) {
  return copy.ne(weight.to(at::kBFloat16)).to(at::kFloat);
}

Tensor adamw_kernel(const Inputs& in) {
  const Tensor copy = copy_for(in[0]);
  const ParameterUpdate update({{.weight = in[0],
                                 .first = in[1],
                                 .second = in[2],
                                 .average = {},
                                 .copy = copy,
                                 .rate = kRate,
                                 .decay = kDecay}});
  update.adamw({in[3]}, judge(update, in[3]).values, kBetas, kEpsilon);
  return at::cat({in[0], in[1], in[2], wrong(copy, in[0])});
}

Tensor adamw_formula(const Inputs& in) {
  const Tensor g = clipped(in[3]);
  const double rate = kRate * kFactor, t = 3;
  const Tensor m = in[1] * kBetas[0] + g * (1 - kBetas[0]);
  const Tensor v = in[2] * kBetas[1] + g * g * (1 - kBetas[1]);
  const Tensor deviation = (v / (1 - std::pow(kBetas[1], t))).sqrt() + kEpsilon;
  const Tensor w =
      in[0] * (1 - rate * kDecay) - m / (1 - std::pow(kBetas[0], t)) * rate / deviation;
  return at::cat({w, m, v, at::zeros_like(w)});
}

Tensor muon_kernel(const Inputs& in) {
  const Tensor copy = copy_for(in[0]);
  const ParameterUpdate update({{.weight = in[0],
                                 .first = in[1],
                                 .second = {},
                                 .average = {},
                                 .copy = copy,
                                 .rate = kRate,
                                 .decay = kDecay}});
  const StepValues values = judge(update, in[3]).values;
  const Tensor directions = update.momentum({in[3]}, values, kMomentum);
  update.apply(in[2], values, kScale);
  return at::cat({in[0], in[1], directions, wrong(copy, in[0])});
}

Tensor muon_formula(const Inputs& in) {
  const Tensor fresh = clipped(in[3]) * (1 - kMomentum);
  const Tensor m = in[1] * kMomentum + fresh;
  const Tensor w = in[0] * (1 - kRate * kFactor * kDecay) - in[2] * (kRate * kFactor * kScale);
  return at::cat({w, m, fresh + m * kMomentum, at::zeros_like(w)});
}

Tensor values_kernel(const Inputs& in) {
  const ParameterUpdate update({{.weight = in[0]}});
  const Judged judged = judge(update, in[3]);
  return at::stack({judged.values.norm(), judged.values.skipped(), judged.steps});
}

Tensor values_formula(const Inputs& in) {
  const Tensor norm = in[3].to(at::kFloat).norm();
  return at::stack({norm, scalar(0, norm), scalar(3, norm)});
}

SelfCheck check_of(Tensor (*kernel)(const Inputs&), Tensor (*formula)(const Inputs&),
                   const at::TensorOptions& o) {
  SelfCheck check{.kernel = without_graph(kernel),
                  .formula = without_graph(formula),
                  .cases = {},
                  .tolerance = kTolerance};
  const at::TensorOptions f = o.dtype(at::kFloat);
  for (const int64_t size : kSizes)
    check.cases.push_back(
        {wave({size}, 0, f), wave({size}, 1, f), wave({size}, 2, f).square(), wave({size}, 3, o)});
  return check;
}

}  // namespace

SelfCheck check_of_adamw(at::TensorOptions o) { return check_of(adamw_kernel, adamw_formula, o); }
SelfCheck check_of_muon(at::TensorOptions o) { return check_of(muon_kernel, muon_formula, o); }
SelfCheck check_of_step_values(at::TensorOptions o) {
  return check_of(values_kernel, values_formula, o);
}

}  // namespace praxino::ops::cuda
