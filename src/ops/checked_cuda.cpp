// Kernels that have agreed with their formula on the device at hand, and what they are checked
// with.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include "fused_cuda.h"
#include "kernel_registry.h"
#include "launch_cuda.h"
#include "praxino/ops/norm.h"
#include "praxino/ops/rope.h"
#include "self_check.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using Inputs = std::vector<Tensor>;

// fp32: sums in another order, and approximations of exp2 and rsqrt. bf16: 8 bits, and sums of
// rounded values. A kernel that is wrong is off by far more.
double tolerance_of(at::ScalarType type) { return type == at::kBFloat16 ? 3e-2 : 1e-4; }

at::TensorOptions in_float(const at::TensorOptions& options) { return options.dtype(at::kFloat); }

// For each operation with a kernel: widths that 16-byte accesses divide, and others.
constexpr int64_t kCheckedWidths[] = {64, 34};
// The same, and one of each other form of the kernel.
constexpr int64_t kGateAddNormWidths[] = {64, 34, 520, 2056};

}  // namespace

SelfCheck check_of_norm_modulate(at::TensorOptions o) {
  const at::ScalarType type = o.dtype().toScalarType();
  SelfCheck check{
      .kernel =
          [type](const Inputs& in) {
            return cuda::norm_modulate(in[0], in[1], in[2], type).value();
          },
      .formula =
          [type](const Inputs& in) { return formula::norm_modulate(in[0], in[1], in[2], type); },
      .cases = {},
      .tolerance = tolerance_of(type)};
  const at::TensorOptions f = in_float(o);
  for (const int64_t d : kCheckedWidths)
    check.cases.push_back(
        {wave({2, 3, 37, d}, 0, f), wave({2, 3, d}, 1, f), wave({2, 3, d}, 2, f)});
  return check;
}

SelfCheck check_of_gate_add(at::TensorOptions o) {
  SelfCheck check{
      .kernel = [](const Inputs& in) { return cuda::gate_add(in[0], in[1], in[2]).value(); },
      .formula = [](const Inputs& in) { return formula::gate_add(in[0], in[1], in[2]); },
      .cases = {},
      .tolerance = tolerance_of(o.dtype().toScalarType())};
  const at::TensorOptions f = in_float(o);
  for (const int64_t d : kCheckedWidths)
    check.cases.push_back(
        {wave({2, 3, 37, d}, 0, f), wave({2, 3, d}, 1, f), wave({2, 3, 37, d}, 2, o)});
  return check;
}

SelfCheck check_of_gate_add_norm(at::TensorOptions o) {
  const at::ScalarType type = o.dtype().toScalarType();
  const auto joined = [](const GatedSum& both) {
    return at::cat({both.sum, both.norm.to(at::kFloat)});
  };
  SelfCheck check{
      .kernel =
          [=](const Inputs& in) {
            return joined(cuda::gate_add_norm(in[0], in[1], in[2], {in[3], in[4]}, type).value());
          },
      .formula =
          [=](const Inputs& in) {
            return joined(formula::gate_add_norm(in[0], in[1], in[2], {in[3], in[4]}, type));
          },
      .cases = {},
      .tolerance = tolerance_of(type)};
  const at::TensorOptions f = in_float(o);
  for (const int64_t d : kGateAddNormWidths)
    check.cases.push_back({wave({2, 3, 37, d}, 0, f), wave({2, 3, d}, 1, f),
                           wave({2, 3, 37, d}, 2, o), wave({2, 3, d}, 3, f),
                           wave({2, 3, d}, 4, f)});
  return check;
}

SelfCheck check_of_swiglu(at::TensorOptions o) {
  SelfCheck check{.kernel = [](const Inputs& in) { return cuda::swiglu(in[0]).value(); },
                  .formula = [](const Inputs& in) { return formula::swiglu(in[0]); },
                  .cases = {},
                  .tolerance = tolerance_of(o.dtype().toScalarType())};
  for (const int64_t d : kCheckedWidths) check.cases.push_back({wave({37, 2 * d}, 0, o)});
  return check;
}

SelfCheck check_of_norm_rotate(at::TensorOptions o) {
  const at::TensorOptions f = in_float(o);
  // The tables get no gradient, so they are not inputs.
  const auto table = [f](const Tensor& x, double phase) {
    return wave({x.size(1), x.size(3) / 2}, phase, f);
  };
  SelfCheck check{
      .kernel =
          [table](const Inputs& in) {
            return cuda::norm_rotate(in[0], in[1], table(in[0], 1), table(in[0], 2)).value();
          },
      .formula =
          [table](const Inputs& in) {
            return formula::norm_rotate(in[0], in[1], table(in[0], 1), table(in[0], 2));
          },
      .cases = {},
      .tolerance = tolerance_of(o.dtype().toScalarType())};
  for (const int64_t d : kCheckedWidths)
    check.cases.push_back({wave({2, 37, 3, d}, 0, o), wave({d}, 3, f)});
  return check;
}

SelfCheck check_of_rotate(at::TensorOptions o) {
  const auto table = [f = in_float(o)](const Tensor& x, double phase) {
    return wave({x.size(1), x.size(3) / 2}, phase, f);
  };
  SelfCheck check{.kernel =
                      [table](const Inputs& in) {
                        const at::NoGradGuard no_gradient;  // it has none
                        return cuda::rotate(in[0], table(in[0], 1), table(in[0], 2)).value();
                      },
                  .formula =
                      [table](const Inputs& in) {
                        const at::NoGradGuard no_gradient;
                        return formula::rotate(in[0], table(in[0], 1), table(in[0], 2));
                      },
                  .cases = {},
                  .tolerance = tolerance_of(o.dtype().toScalarType())};
  for (const int64_t d : kCheckedWidths) check.cases.push_back({wave({2, 37, 3, d}, 0, o)});
  return check;
}

namespace checked {

std::optional<Tensor> norm_modulate(const Tensor& x, const Tensor& scale, const Tensor& shift,
                                    at::ScalarType dtype) {
  if (!usable(Kernel::norm_modulate, x, dtype)) return std::nullopt;
  return taken_or_told(Kernel::norm_modulate, x, dtype,
                       cuda::norm_modulate(x, scale, shift, dtype));
}

std::optional<Tensor> gate_add(const Tensor& x, const Tensor& gate, const Tensor& branch) {
  if (!usable(Kernel::gate_add, x, branch.scalar_type())) return std::nullopt;
  return taken_or_told(Kernel::gate_add, x, branch.scalar_type(), cuda::gate_add(x, gate, branch));
}

// What is refused here comes back as the two operations.
std::optional<GatedSum> gate_add_norm(const Tensor& x, const Tensor& gate, const Tensor& branch,
                                      const Modulation& modulation, at::ScalarType dtype) {
  if (!usable(Kernel::gate_add_norm, x, dtype)) return std::nullopt;
  return cuda::gate_add_norm(x, gate, branch, modulation, dtype);
}

std::optional<Tensor> swiglu(const Tensor& ab) {
  if (!usable(Kernel::swiglu, ab, ab.scalar_type())) return std::nullopt;
  return taken_or_told(Kernel::swiglu, ab, ab.scalar_type(), cuda::swiglu(ab));
}

std::optional<Tensor> norm_rotate(const Tensor& x, const Tensor& gain, const Tensor& cos,
                                  const Tensor& sin) {
  if (!usable(Kernel::norm_rotate, x, x.scalar_type())) return std::nullopt;
  return taken_or_told(Kernel::norm_rotate, x, x.scalar_type(),
                       cuda::norm_rotate(x, gain, cos, sin));
}

std::optional<Tensor> rotate(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  if (!usable(Kernel::rotate, x, x.scalar_type())) return std::nullopt;
  return taken_or_told(Kernel::rotate, x, x.scalar_type(), cuda::rotate(x, cos, sin));
}

}  // namespace checked
}  // namespace praxino::ops::cuda
