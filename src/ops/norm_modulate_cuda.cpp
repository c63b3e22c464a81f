#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <array>

#include "fused_cuda.h"
#include "kernels/norm_modulate.h"
#include "launch_cuda.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int kSums = 2;  // over the tokens of a frame: for scale and for shift

struct NormModulate : torch::autograd::Function<NormModulate> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_in, const Tensor& scale_in,
                        const Tensor& shift_in, int64_t dtype) {
    const Tensor x = x_in.contiguous(), scale = scale_in.contiguous(),
                 shift = shift_in.contiguous();
    const Launching launching(x);
    const Tensor y = at::empty(x.sizes(), x.options().dtype(static_cast<at::ScalarType>(dtype)));
    const kernels::FrameRows shape = frame_rows(x);
    const Tensor inverse = at::empty({shape.rows()}, x.options());
    const kernels::NormModulate p{.x = x.const_data_ptr<float>(),
                                  .scale = scale.const_data_ptr<float>(),
                                  .shift = shift.const_data_ptr<float>(),
                                  .y = y.mutable_data_ptr(),
                                  .inverse = inverse.mutable_data_ptr<float>(),
                                  .shape = shape,
                                  .element = *element_of(y.scalar_type())};
    Launching::check(kernels::launch_norm_modulate(p, launching.stream()), "norm_modulate");
    ctx->save_for_backward({x, scale, inverse});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("norm_modulate");
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &scale = saved[1], &inverse = saved[2];
    const Tensor grad = grads[0].contiguous();
    const Launching launching(x);
    const kernels::FrameRows shape = frame_rows(x);
    const bool sums = ctx->needs_input_grad(1) || ctx->needs_input_grad(2);
    const Tensor grad_x = gradient_of(x, ctx->needs_input_grad(0)),
                 grad_scale = gradient_of(scale, sums), grad_shift = gradient_of(scale, sums);
    const int64_t floats = sums ? kernels::chunk_workspace(shape, kSums) : 0;
    const Tensor workspace = at::empty({floats}, x.options());
    const kernels::NormModulateBackward p{.x = x.const_data_ptr<float>(),
                                          .scale = scale.const_data_ptr<float>(),
                                          .inverse = inverse.const_data_ptr<float>(),
                                          .grad = grad.const_data_ptr(),
                                          .grad_x = address_of<float>(grad_x),
                                          .grad_scale = address_of<float>(grad_scale),
                                          .grad_shift = address_of<float>(grad_shift),
                                          .workspace = workspace.mutable_data_ptr<float>(),
                                          .shape = shape,
                                          .element = *element_of(grad.scalar_type())};
    Launching::check(kernels::launch_norm_modulate_backward(p, launching.stream()),
                     "norm_modulate backward");
    return {grad_x, grad_scale, grad_shift, Tensor()};
  }
};

}  // namespace

std::optional<Tensor> norm_modulate(const Tensor& x, const Tensor& scale, const Tensor& shift,
                                    at::ScalarType dtype) {
  if (!on_capable_gpu(x) || x.dim() != 4 || !is_float(x, x.sizes(), x)) return std::nullopt;
  const std::array<int64_t, 3> frames = {x.size(0), x.size(1), x.size(3)};
  const bool served = is_float(scale, frames, x) && is_float(shift, frames, x) && element_of(dtype);
  if (!served || !kernels::in_range(frame_rows(x))) return std::nullopt;
  return NormModulate::apply(x, scale, shift, static_cast<int64_t>(dtype));
}

}  // namespace praxino::ops::cuda
