// The specification of the fused operations: the shortest ATen expression of each.
#include <ATen/ops/silu.h>

#include "praxino/ops/norm.h"
#include "praxino/ops/rope.h"

namespace praxino::ops::formula {
namespace {

constexpr double kEpsilon = 1e-6;

at::Tensor rms_normalized(const at::Tensor& x) {
  return x * (x.square().mean(-1, /*keepdim=*/true) + kEpsilon).rsqrt();
}

}  // namespace

at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift,
                         at::ScalarType dtype) {
  return (rms_normalized(x) * (scale + 1).unsqueeze(2) + shift.unsqueeze(2)).to(dtype);
}

at::Tensor gate_add(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& branch) {
  return x + gate.unsqueeze(2) * branch.to(x.scalar_type());
}

GatedSum gate_add_norm(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& branch,
                       const Modulation& modulation, at::ScalarType dtype) {
  const at::Tensor sum = gate_add(x, gate, branch);
  return {sum, norm_modulate(sum, modulation.scale, modulation.shift, dtype)};
}

at::Tensor swiglu(const at::Tensor& ab) {
  const int64_t half = ab.size(-1) / 2;
  return at::silu(ab.narrow(-1, 0, half)) * ab.narrow(-1, half, half);
}

at::Tensor norm_rotate(const at::Tensor& x, const at::Tensor& gain, const at::Tensor& cos,
                       const at::Tensor& sin) {
  return rotate(rms_normalized(x.to(at::kFloat)) * gain, cos, sin).to(x.scalar_type());
}

}  // namespace praxino::ops::formula
