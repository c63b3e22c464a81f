#include "planned_attention.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

namespace praxino::ops {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct PlannedAttention : torch::autograd::Function<PlannedAttention> {
  static Tensor forward(AutogradContext* ctx, const Tensor& q, const Tensor& k, const Tensor& v) {
    const Tensor out = at::empty(q.sizes(), q.options());
    const Tensor log_sum =
        at::empty({q.size(0), q.size(1), q.size(2)}, q.options().dtype(at::kFloat));
    ctx->save_for_backward({q, k, v, out, log_sum});
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor grad = grads[0].contiguous();
    return {at::empty(saved[0].sizes(), saved[0].options()),
            at::empty(saved[1].sizes(), saved[1].options()),
            at::empty(saved[2].sizes(), saved[2].options())};
  }
};

}  // namespace

Tensor planned_attention(const Tensor& q, const Tensor& k, const Tensor& v) {
  return PlannedAttention::apply(q, k, v);
}

}  // namespace praxino::ops
