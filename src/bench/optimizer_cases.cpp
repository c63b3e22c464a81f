// The element-wise parts of an optimizer's step, over all parameters together.
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/add.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <fmt/format.h>

#include "bench/cases.h"
#include "praxino/ops/parameter_update.h"

namespace praxino::bench {
namespace {

using at::Tensor;
using Tensors = std::vector<Tensor>;

constexpr double kRate = 1e-3, kDecay = 0.1, kEpsilon = 1e-8, kMomentum = 0.95;
constexpr std::array<double, 2> kBetas = {0.9, 0.99};
constexpr double kAverageDecay = 0.999;

/// Matrices of side x side.
struct Matrices {
  int64_t count, side;
  double elements() const { return static_cast<double>(count * side * side); }
};

Matrices sized(Scale scale, const Matrices& s) {
  if (scale == Scale::kTest) return {3, 5};
  return scale == Scale::kCpu ? Matrices{4, s.side} : s;
}

Case sized_case(const char* name, const char* op, const Matrices& s, at::ScalarType type,
                double bytes) {
  return {.name = name,
          .shape = fmt::format("{} x {} x {} gradients {}", s.count, s.side, s.side,
                               c10::toString(type)),
          .op = op,
          .forward = {.bytes = bytes * s.elements()},
          .inputs = {}};
}

/// What each tensor of the inputs holds, one matrix a row.
enum Operand { kGradients, kWeights, kFirst, kSecond, kAverage, kCopy };

std::function<Inputs(const at::TensorOptions&)> operands(const Matrices& s,
                                                         at::ScalarType gradients, bool averaged) {
  return [=](const at::TensorOptions& o) {
    const auto random = [&](at::ScalarType type) {
      return at::randn({s.count, s.side, s.side}, o.dtype(type));
    };
    Inputs in = {random(gradients), random(at::kFloat), random(at::kFloat),
                 random(at::kFloat).square_()};
    if (averaged) in.insert(in.end(), {random(at::kFloat), random(at::kBFloat16)});
    return in;
  };
}

/// Kernels where they serve, formulas elsewhere, as src/optim chooses.
bool kernels_serve(const Inputs& in) {
  return ops::ParameterUpdate::serves(in[kWeights], in[kGradients].scalar_type());
}

/// What a step is judged by beside its gradients: a first step, everything finite, no clipping. So
/// many updates of the average that its weight is the final one.
struct Scalars {
  Tensor loss, rate, steps, updates;
  explicit Scalars(const Inputs& in) {
    const auto scalar = [&](double value) { return at::full({}, value, in[kWeights].options()); };
    loss = scalar(1), rate = scalar(1), steps = scalar(0), updates = scalar(1e6);
  }
  ops::StepValues values(const Tensor& sums) const {
    return ops::step_values(sums, loss, rate, steps, updates,
                            {.clip = 0, .betas = kBetas, .average_decay = kAverageDecay});
  }
};

/// A kernel with its tables.
struct Bound {
  std::shared_ptr<ops::ParameterUpdate> update;
  Tensors gradients;
  ops::StepValues values;
};

Bound bound(const Inputs& in, bool second) {
  std::vector<ops::UpdatedParameter> parameters;
  for (int64_t i = 0; i < in[kWeights].size(0); ++i) {
    const auto matrix = [&](size_t which) { return which < in.size() ? in[which][i] : Tensor(); };
    parameters.push_back({.weight = matrix(kWeights),
                          .first = matrix(kFirst),
                          .second = second ? matrix(kSecond) : Tensor(),
                          .average = matrix(kAverage),
                          .copy = matrix(kCopy),
                          .rate = kRate,
                          .decay = kDecay});
  }
  Bound out{.update = std::make_shared<ops::ParameterUpdate>(std::move(parameters)),
            .gradients = in[kGradients].unbind(),
            .values = {}};
  out.values = Scalars(in).values(at::ones({1}, in[kWeights].options()));
  return out;
}

/// The norm of all gradients, which decides on clipping and skipping.
Case gradient_norm(Scale scale, at::ScalarType type, const Matrices& gpu) {
  const Matrices s = sized(scale, gpu);
  const auto formula = [](const Inputs& in) -> Function {
    return [gradients = in[kGradients].unbind()](const Inputs&) {
      const Tensors norms = at::_foreach_norm(gradients, 2, at::kFloat);
      return at::linalg_vector_norm(at::stack(norms));
    };
  };
  const auto ours = [formula](const Inputs& in) -> Function {
    if (!kernels_serve(in)) return formula(in);
    return [b = bound(in, true), scalars = Scalars(in)](const Inputs& of) {
      const Tensor sums = at::empty({b.update->sums()}, of[kWeights].options());
      b.update->squared_sums(b.gradients, sums);
      return scalars.values(sums).norm();
    };
  };
  Case out = sized_case("gradient_norm", "step_values", s, type, element_bytes(type));
  out.inputs = operands(s, type, /*averaged=*/false);
  out.sides = {{.name = "praxino", .run = {}, .bind = ours},
               {.name = "LibTorch", .run = {}, .bind = formula}};
  return out;
}

/// AdamW; with the moving average and the copy for products that a model keeps beside its weights.
Case adamw(Scale scale, at::ScalarType type, const Matrices& gpu, bool averaged) {
  const Matrices s = sized(scale, gpu);
  const auto formula = [averaged](const Inputs& in) -> Function {
    const Tensors weights = in[kWeights].unbind(), first = in[kFirst].unbind(),
                  second = in[kSecond].unbind();
    const Tensor step = at::ones({}, in[kWeights].options());
    const Tensors steps(weights.size(), step);
    return [=, averages = averaged ? in[kAverage].unbind() : Tensors()](const Inputs& of) {
      // LibTorch's kernel wants gradients of the weights' type.
      const Tensors gradients = of[kGradients].to(at::kFloat).unbind();
      at::_fused_adamw_(weights, gradients, first, second, {}, steps, kRate, kBetas[0], kBetas[1],
                        kDecay, kEpsilon, /*amsgrad=*/false, /*maximize=*/false);
      if (averaged) {
        at::_foreach_lerp_(averages, weights, 1 - kAverageDecay);
        of[kCopy].copy_(of[kWeights]);
        return of[kAverage];
      }
      return of[kWeights];
    };
  };
  const auto ours = [formula, averaged](const Inputs& in) -> Function {
    if (!kernels_serve(in)) return formula(in);
    return [=, b = bound(in, true)](const Inputs& of) {
      b.update->adamw(b.gradients, b.values, kBetas, kEpsilon);
      return of[averaged ? kAverage : kWeights];
    };
  };
  // Weights and moments in and out; with an average, that too, and a copy of two bytes.
  Case out = sized_case(averaged ? "adamw_averaged" : "adamw", "adamw", s, type,
                        24 + element_bytes(type) + (averaged ? 10 : 0));
  out.inputs = operands(s, type, averaged);
  out.sides = {{.name = "praxino", .run = {}, .bind = ours},
               {.name = "LibTorch", .run = {}, .bind = formula}};
  out.in_place = true;
  return out;
}

/// Muon's momentum and the directions that go into its products.
Case muon_momentum(Scale scale, at::ScalarType type, const Matrices& gpu) {
  const Matrices s = sized(scale, gpu);
  const Function formula = [](const Inputs& in) -> Tensor {
    const Tensor fresh = in[kGradients].to(at::kFloat) * (1 - kMomentum);
    in[kFirst].mul_(kMomentum).add_(fresh);
    return at::add(fresh, in[kFirst], kMomentum).flatten();
  };
  const auto ours = [formula](const Inputs& in) -> Function {
    if (!kernels_serve(in)) return formula;
    return [b = bound(in, false)](const Inputs&) {
      return b.update->momentum(b.gradients, b.values, kMomentum);
    };
  };
  Case out = sized_case("muon_momentum", "muon", s, type, 12 + element_bytes(type));
  out.inputs = operands(s, type, /*averaged=*/false);
  out.sides = {{.name = "praxino", .run = {}, .bind = ours}, {"LibTorch", formula}};
  out.in_place = true;
  return out;
}

/// Muon's step along directions of the gradients' type.
Case muon_apply(Scale scale, at::ScalarType type, const Matrices& gpu) {
  const Matrices s = sized(scale, gpu);
  const Function formula = [](const Inputs& in) -> Tensor {
    return in[kWeights].mul_(1 - kRate * kDecay).add_(in[kGradients], -kRate);
  };
  const auto ours = [formula](const Inputs& in) -> Function {
    if (!kernels_serve(in)) return formula;
    return [b = bound(in, false)](const Inputs& of) {
      b.update->apply(of[kGradients], b.values, 1);
      return of[kWeights];
    };
  };
  Case out = sized_case("muon_apply", "muon", s, type, 8 + element_bytes(type));
  out.inputs = operands(s, type, /*averaged=*/false);
  out.sides = {{.name = "praxino", .run = {}, .bind = ours}, {"LibTorch", formula}};
  out.in_place = true;
  return out;
}

}  // namespace

std::vector<Case> optimizer_cases(Scale scale, at::ScalarType type) {
  constexpr Matrices kMatrices{72, 2048};  // 302 million elements
  std::vector<Case> cases = {
      adamw(scale, type, kMatrices, /*averaged=*/false),
      adamw(scale, type, kMatrices, /*averaged=*/true), muon_momentum(scale, type, kMatrices),
      muon_apply(scale, type, kMatrices), gradient_norm(scale, type, kMatrices)};
  if (type != at::kFloat) {  // what LibTorch's kernel takes without a conversion
    cases.insert(cases.begin() + 1, adamw(scale, at::kFloat, kMatrices, /*averaged=*/false));
  }
  return cases;
}

}  // namespace praxino::bench
