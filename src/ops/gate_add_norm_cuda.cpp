#include "kernels/gate_add_norm.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>

#include "fused_cuda.h"
#include "launch_cuda.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int kSums = 3;  // over the tokens of a frame: for gate, scale and shift
constexpr size_t kInputs = 6;

struct GateAddNorm : torch::autograd::Function<GateAddNorm> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x_in, const Tensor& gate_in,
                               const Tensor& branch_in, const Tensor& scale_in,
                               const Tensor& shift_in, int64_t dtype) {
    const Tensor x = x_in.contiguous(), gate = gate_in.contiguous(),
                 branch = branch_in.contiguous(), scale = scale_in.contiguous(),
                 shift = shift_in.contiguous();
    const Launching launching(x);
    const Tensor sum = at::empty_like(x),
                 norm = at::empty(x.sizes(), x.options().dtype(static_cast<at::ScalarType>(dtype)));
    const kernels::FrameRows shape = frame_rows(x);
    const Tensor inverse = at::empty({shape.rows()}, x.options());
    const kernels::GateAddNorm p{.x = x.const_data_ptr<float>(),
                                 .branch = branch.const_data_ptr(),
                                 .gate = gate.const_data_ptr<float>(),
                                 .scale = scale.const_data_ptr<float>(),
                                 .shift = shift.const_data_ptr<float>(),
                                 .sum = sum.mutable_data_ptr<float>(),
                                 .y = norm.mutable_data_ptr(),
                                 .inverse = inverse.mutable_data_ptr<float>(),
                                 .shape = shape,
                                 .element = *element_of(norm.scalar_type())};
    Launching::check(kernels::launch_gate_add_norm(p, launching.stream()), "gate_add_norm");
    ctx->set_materialize_grads(false);
    ctx->save_for_backward({sum, gate, branch, scale, inverse});
    return {sum, norm};
  }

  // Where only the sum was used, its gradient is that of x, and scale and shift have none.
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("gate_add_norm");
    const Tensor of_sum = dense(grads[0]), of_norm = dense(grads[1]);
    if (!of_sum.defined() && !of_norm.defined()) return variable_list(kInputs);
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &sum = saved[0], &gate = saved[1], &branch = saved[2], &scale = saved[3];
    const Launching launching(sum);
    const kernels::FrameRows shape = frame_rows(sum);
    const bool normed = of_norm.defined(),
               sums = ctx->needs_input_grad(1) ||
                      (normed && (ctx->needs_input_grad(3) || ctx->needs_input_grad(4)));
    const Tensor grad_x = normed ? gradient_of(sum, ctx->needs_input_grad(0)) : of_sum;
    const Tensor grad_gate = gradient_of(gate, sums),
                 grad_branch = gradient_of(branch, ctx->needs_input_grad(2)),
                 grad_scale = gradient_of(scale, normed && sums),
                 grad_shift = gradient_of(scale, normed && sums);
    const int64_t floats = sums ? kernels::chunk_workspace(shape, kSums) : 0;
    const Tensor workspace = at::empty({floats}, sum.options());
    const kernels::GateAddNormBackward p{
        .sum = sum.const_data_ptr<float>(),
        .branch = branch.const_data_ptr(),
        .gate = gate.const_data_ptr<float>(),
        .scale = scale.const_data_ptr<float>(),
        .inverse = saved[4].const_data_ptr<float>(),
        .grad_sum = of_sum.defined() ? of_sum.const_data_ptr<float>() : nullptr,
        .grad = normed ? of_norm.const_data_ptr() : nullptr,
        .grad_x = normed ? address_of<float>(grad_x) : nullptr,
        .grad_branch = address_of(grad_branch),
        .grad_gate = address_of<float>(grad_gate),
        .grad_scale = address_of<float>(grad_scale),
        .grad_shift = address_of<float>(grad_shift),
        .workspace = workspace.mutable_data_ptr<float>(),
        .shape = shape,
        .element = *element_of(branch.scalar_type())};
    Launching::check(kernels::launch_gate_add_norm_backward(p, launching.stream()),
                     "gate_add_norm backward");
    return {grad_x, grad_gate, grad_branch, grad_scale, grad_shift, Tensor()};
  }
};

}  // namespace

std::optional<GatedSum> gate_add_norm(const Tensor& x, const Tensor& gate, const Tensor& branch,
                                      const Modulation& modulation, at::ScalarType dtype) {
  if (!on_capable_gpu(x) || x.dim() != 4 || !is_float(x, x.sizes(), x)) return std::nullopt;
  const auto& [scale, shift] = modulation;
  const std::array<int64_t, 3> frames = {x.size(0), x.size(1), x.size(3)};
  const bool vectors =
      is_float(gate, frames, x) && is_float(scale, frames, x) && is_float(shift, frames, x);
  const bool served = vectors && element_of(dtype) && branch.scalar_type() == dtype &&
                      branch.sizes() == x.sizes() && branch.device() == x.device();
  if (!served || !kernels::in_range(frame_rows(x))) return std::nullopt;
  const variable_list both =
      GateAddNorm::apply(x, gate, branch, scale, shift, static_cast<int64_t>(dtype));
  return GatedSum{both[0], both[1]};
}

}  // namespace praxino::ops::cuda
