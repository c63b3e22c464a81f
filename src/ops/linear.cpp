#include "praxino/ops/linear.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>

namespace praxino::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Keeps both operands in bfloat16 for the backward pass; the weight's gradient leaves in float32.
struct LinearBf16 : torch::autograd::Function<LinearBf16> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& /*weight*/,
                            const at::Tensor& rounded) {
    ctx->save_for_backward({x, rounded});
    return at::linear(x, rounded);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    at::Tensor grad_x, grad_weight;
    if (ctx->needs_input_grad(0)) grad_x = linear_gradient_of_x(grads[0], saved[1]);
    if (ctx->needs_input_grad(1)) grad_weight = linear_gradient_of_weight(grads[0], saved[0]);
    return {grad_x, grad_weight, at::Tensor()};
  }
};

}  // namespace

at::Tensor Matrix::in(at::ScalarType type) const {
  return copy.defined() && copy.scalar_type() == type ? copy : weight.detach().to(type);
}

at::Tensor linear(const at::Tensor& x, const Matrix& matrix, const at::Tensor& bias) {
  if (x.scalar_type() == matrix.weight.scalar_type()) {
    return at::linear(x, matrix.weight, bias.defined() ? std::optional(bias) : std::nullopt);
  }
  const at::Tensor y = LinearBf16::apply(x, matrix.weight, matrix.in(at::kBFloat16));
  return bias.defined() ? y + bias.to(y.scalar_type()) : y;
}

at::Tensor linear_gradient_of_x(const at::Tensor& grad, const at::Tensor& weight) {
  std::vector<int64_t> sizes = grad.sizes().vec();
  sizes.back() = weight.size(1);
  return grad.reshape({-1, weight.size(0)}).mm(weight).view(sizes);
}

at::Tensor linear_gradient_of_weight(const at::Tensor& grad, const at::Tensor& x) {
  return grad.reshape({-1, grad.size(-1)}).t().mm(x.reshape({-1, x.size(-1)})).to(at::kFloat);
}

}  // namespace praxino::ops
