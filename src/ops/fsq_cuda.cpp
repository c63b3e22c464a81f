#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "launch_cuda.h"
#include "tokens_cuda.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct FiniteScalarQuantize : torch::autograd::Function<FiniteScalarQuantize> {
  static variable_list forward(AutogradContext* ctx, const Tensor& z_in,
                               const kernels::FsqLevels& levels) {
    const Tensor z = z_in.contiguous();
    const Launching launching(z);
    const Tensor codes = at::empty_like(z),
                 indices = at::empty(z.sizes().slice(0, static_cast<size_t>(z.dim() - 1)),
                                     z.options().dtype(at::kLong));
    const kernels::Fsq p{.z = z.const_data_ptr(),
                         .codes = codes.mutable_data_ptr(),
                         .indices = indices.mutable_data_ptr<int64_t>(),
                         .rows = indices.numel(),
                         .levels = levels,
                         .element = *element_of(z.scalar_type())};
    Launching::check(kernels::launch_fsq(p, launching.stream()), "finite_scalar_quantize");
    ctx->save_for_backward({z});
    ctx->mark_non_differentiable({indices});
    ctx->set_materialize_grads(false);  // or autograd fills a gradient of the indices with zeros
    return {codes, indices};
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("finite_scalar_quantize");
    if (!grads[0].defined()) return {Tensor(), Tensor()};
    const Tensor z = ctx->get_saved_variables()[0];
    const Tensor grad = grads[0].contiguous(), grad_z = at::empty_like(z);
    const Launching launching(z);
    const kernels::FsqBackward p{.z = z.const_data_ptr(),
                                 .grad = grad.const_data_ptr(),
                                 .grad_z = grad_z.mutable_data_ptr(),
                                 .elements = z.numel(),
                                 .element = *element_of(z.scalar_type())};
    Launching::check(kernels::launch_fsq_backward(p, launching.stream()),
                     "finite_scalar_quantize backward");
    return {grad_z, Tensor()};
  }
};

}  // namespace

std::optional<Quantized> finite_scalar_quantize(const Tensor& z, const kernels::FsqLevels& levels) {
  if (!on_capable_gpu(z) || !element_of(z.scalar_type())) return std::nullopt;
  const variable_list quantized = FiniteScalarQuantize::apply(z, levels);
  return Quantized{.codes = quantized[0], .indices = quantized[1]};
}

}  // namespace praxino::ops::cuda
