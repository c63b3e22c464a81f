#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "fused_cuda.h"
#include "kernels/norm_rotate.h"
#include "launch_cuda.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

kernels::HeadRows head_rows(const Tensor& x) {
  return {.rows = x.size(0), .positions = x.size(1), .heads = x.size(2), .width = x.size(3)};
}

struct NormRotate : torch::autograd::Function<NormRotate> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_in, const Tensor& gain_in,
                        const Tensor& cos_in, const Tensor& sin_in) {
    const Tensor x = x_in.contiguous(), gain = gain_in.contiguous(), cos = cos_in.contiguous(),
                 sin = sin_in.contiguous();
    const Launching launching(x);
    const kernels::HeadRows shape = head_rows(x);
    const Tensor y = at::empty_like(x), inverse = at::empty({shape.all().rows()}, gain.options());
    const kernels::NormRotate p{.x = x.const_data_ptr(),
                                .gain = gain.const_data_ptr<float>(),
                                .cos = cos.const_data_ptr<float>(),
                                .sin = sin.const_data_ptr<float>(),
                                .y = y.mutable_data_ptr(),
                                .inverse = inverse.mutable_data_ptr<float>(),
                                .shape = shape,
                                .element = *element_of(x.scalar_type())};
    Launching::check(kernels::launch_norm_rotate(p, launching.stream()), "norm_rotate");
    ctx->save_for_backward({x, gain, cos, sin, inverse});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("norm_rotate");
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &gain = saved[1];
    const Tensor grad = grads[0].contiguous();
    const Launching launching(x);
    const kernels::HeadRows shape = head_rows(x);
    const Tensor grad_x = gradient_of(x, ctx->needs_input_grad(0)),
                 grad_gain = gradient_of(gain, ctx->needs_input_grad(1));
    const int64_t floats = grad_gain.defined() ? kernels::chunk_workspace(shape.all(), 1) : 0;
    const Tensor workspace = at::empty({floats}, gain.options());
    const kernels::NormRotateBackward p{.x = x.const_data_ptr(),
                                        .gain = gain.const_data_ptr<float>(),
                                        .cos = saved[2].const_data_ptr<float>(),
                                        .sin = saved[3].const_data_ptr<float>(),
                                        .inverse = saved[4].const_data_ptr<float>(),
                                        .grad = grad.const_data_ptr(),
                                        .grad_x = address_of(grad_x),
                                        .grad_gain = address_of<float>(grad_gain),
                                        .workspace = workspace.mutable_data_ptr<float>(),
                                        .shape = shape,
                                        .element = *element_of(x.scalar_type())};
    Launching::check(kernels::launch_norm_rotate_backward(p, launching.stream()),
                     "norm_rotate backward");
    return {grad_x, grad_gain, Tensor(), Tensor()};
  }
};

bool is_table(const Tensor& table, const Tensor& x) {
  return is_float(table, {x.size(1), x.size(3) / 2}, x) && !table.requires_grad();
}

bool is_rows(const Tensor& x) {
  return on_capable_gpu(x) && x.dim() == 4 && element_of(x.scalar_type()) &&
         kernels::in_range(head_rows(x));
}

}  // namespace

std::optional<Tensor> rotate(const Tensor& x_in, const Tensor& cos_in, const Tensor& sin_in) {
  if (at::GradMode::is_enabled() && x_in.requires_grad()) return std::nullopt;
  if (!is_rows(x_in) || !is_table(cos_in, x_in) || !is_table(sin_in, x_in)) return std::nullopt;
  const Tensor x = x_in.contiguous(), cos = cos_in.contiguous(), sin = sin_in.contiguous();
  const Launching launching(x);
  const Tensor y = at::empty(x.sizes(), x.options());
  const kernels::NormRotate p{.x = x.const_data_ptr(),
                              .cos = cos.const_data_ptr<float>(),
                              .sin = sin.const_data_ptr<float>(),
                              .y = y.mutable_data_ptr(),
                              .shape = head_rows(x),
                              .element = *element_of(x.scalar_type())};
  Launching::check(kernels::launch_norm_rotate(p, launching.stream()), "rotate");
  return y;
}

std::optional<Tensor> norm_rotate(const Tensor& x, const Tensor& gain, const Tensor& cos,
                                  const Tensor& sin) {
  if (!is_rows(x) || !is_float(gain, {x.size(3)}, x) || !is_table(cos, x) || !is_table(sin, x))
    return std::nullopt;
  return NormRotate::apply(x, gain, cos, sin);
}

}  // namespace praxino::ops::cuda
