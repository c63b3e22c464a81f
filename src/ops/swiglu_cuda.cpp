#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "fused_cuda.h"
#include "kernels/swiglu.h"
#include "launch_cuda.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct SwiGlu : torch::autograd::Function<SwiGlu> {
  static Tensor forward(AutogradContext* ctx, const Tensor& ab_in) {
    const Tensor ab = ab_in.contiguous();
    std::vector<int64_t> shape = ab.sizes().vec();
    shape.back() /= 2;
    const Launching launching(ab);
    const Tensor y = at::empty(shape, ab.options());
    const kernels::SwiGlu p{.ab = ab.const_data_ptr(),
                            .y = y.mutable_data_ptr(),
                            .rows = y.numel() / shape.back(),
                            .half = shape.back(),
                            .element = *element_of(ab.scalar_type())};
    Launching::check(kernels::launch_swiglu(p, launching.stream()), "swiglu");
    ctx->save_for_backward({ab});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("swiglu");
    const Tensor ab = ctx->get_saved_variables()[0];
    const Tensor grad = grads[0].contiguous(), grad_ab = at::empty_like(ab);
    const Launching launching(ab);
    const kernels::SwiGluBackward p{.ab = ab.const_data_ptr(),
                                    .grad = grad.const_data_ptr(),
                                    .grad_ab = grad_ab.mutable_data_ptr(),
                                    .rows = grad.numel() / grad.size(-1),
                                    .half = grad.size(-1),
                                    .element = *element_of(ab.scalar_type())};
    Launching::check(kernels::launch_swiglu_backward(p, launching.stream()), "swiglu backward");
    return {grad_ab};
  }
};

}  // namespace

std::optional<Tensor> swiglu(const Tensor& ab) {
  if (!on_capable_gpu(ab) || !element_of(ab.scalar_type()) || ab.size(-1) % 2 != 0)
    return std::nullopt;
  return SwiGlu::apply(ab);
}

}  // namespace praxino::ops::cuda
