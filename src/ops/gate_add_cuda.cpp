#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "fused_cuda.h"
#include "kernels/gate_add.h"
#include "launch_cuda.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GateAdd : torch::autograd::Function<GateAdd> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_in, const Tensor& gate_in,
                        const Tensor& branch_in) {
    const Tensor x = x_in.contiguous(), gate = gate_in.contiguous(),
                 branch = branch_in.contiguous();
    const Launching launching(x);
    const Tensor y = at::empty_like(x);
    const kernels::GateAdd p{.x = x.const_data_ptr<float>(),
                             .gate = gate.const_data_ptr<float>(),
                             .branch = branch.const_data_ptr(),
                             .y = y.mutable_data_ptr<float>(),
                             .shape = frame_rows(x),
                             .element = *element_of(branch.scalar_type())};
    Launching::check(kernels::launch_gate_add(p, launching.stream()), "gate_add");
    ctx->save_for_backward({gate, branch});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("gate_add");
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &gate = saved[0], &branch = saved[1];
    const Tensor grad = grads[0].contiguous();
    const Launching launching(branch);
    const kernels::FrameRows shape = frame_rows(branch);
    const Tensor grad_gate = gradient_of(gate, ctx->needs_input_grad(1)),
                 grad_branch = gradient_of(branch, ctx->needs_input_grad(2));
    const int64_t floats = grad_gate.defined() ? kernels::chunk_workspace(shape, 1) : 0;
    const Tensor workspace = at::empty({floats}, gate.options());
    const kernels::GateAddBackward p{.grad = grad.const_data_ptr<float>(),
                                     .gate = gate.const_data_ptr<float>(),
                                     .branch = branch.const_data_ptr(),
                                     .grad_branch = address_of(grad_branch),
                                     .grad_gate = address_of<float>(grad_gate),
                                     .workspace = workspace.mutable_data_ptr<float>(),
                                     .shape = shape,
                                     .element = *element_of(branch.scalar_type())};
    Launching::check(kernels::launch_gate_add_backward(p, launching.stream()), "gate_add backward");
    return {grad, grad_gate, grad_branch};
  }
};

}  // namespace

std::optional<Tensor> gate_add(const Tensor& x, const Tensor& gate, const Tensor& branch) {
  if (!on_capable_gpu(x) || x.dim() != 4 || !is_float(x, x.sizes(), x)) return std::nullopt;
  const bool served = is_float(gate, {x.size(0), x.size(1), x.size(3)}, x) &&
                      element_of(branch.scalar_type()) && branch.sizes() == x.sizes() &&
                      branch.device() == x.device();
  if (!served || !kernels::in_range(frame_rows(x))) return std::nullopt;
  return GateAdd::apply(x, gate, branch);
}

}  // namespace praxino::ops::cuda
