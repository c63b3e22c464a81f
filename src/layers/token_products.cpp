#include "praxino/layers/token_products.h"

#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <utility>

#include "praxino/parallel/exchange.h"

namespace praxino {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kTokens = 2;  // dim

/// What the backward pass needs beside tensors.
struct Held : torch::CustomClassHolder {
  Held(TokenShares s, Communicator t) : shares(std::move(s)), tensor(std::move(t)) {}
  PendingTensor gather(const at::Tensor& own) const {
    return start_gather(own, kTokens, shares.tokens, tensor);
  }
  PendingTensor sum(const at::Tensor& term) const {
    return start_scatter_sum(term, kTokens, shares.tokens, tensor);
  }
  TokenShares shares;
  Communicator tensor;
};
using HeldPtr = c10::intrusive_ptr<Held>;

// Saves the tokens (this rank's, or all), then the weights in the tokens' type, `converted`.
struct GatheredProducts : torch::autograd::Function<GatheredProducts> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& own,
                               at::TensorList /*weights*/, at::TensorList converted,
                               const HeldPtr& held) {
    const at::Tensor all = held->gather(own).wait();
    variable_list saved = {held->shares.keep_gathered ? all : own}, products;
    for (const at::Tensor& weight : converted) {
      saved.push_back(weight);
      products.push_back(at::linear(all, weight));
    }
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["held"] = c10::IValue::make_capsule(held);
    return products;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto held = c10::static_intrusive_pointer_cast<Held>(ctx->saved_data["held"].toCapsule());
    const variable_list saved = ctx->get_saved_variables();
    bool for_weights = false;
    for (size_t i = 1; i <= grads.size(); ++i) for_weights |= ctx->needs_input_grad(i);

    variable_list result(2 * grads.size() + 2);  // own, weights, converted, held
    PendingTensor gathered, summed;
    if (for_weights && !held->shares.keep_gathered) gathered = held->gather(saved[0]);
    if (ctx->needs_input_grad(0)) summed = held->sum(term_of_tokens(grads, saved));
    if (for_weights) {
      const at::Tensor all = held->shares.keep_gathered ? saved[0] : gathered.wait();
      for (size_t i = 0; i < grads.size(); ++i) {
        if (ctx->needs_input_grad(i + 1)) {
          result[i + 1] = ops::linear_gradient_of_weight(grads[i], all);
        }
      }
    }
    if (ctx->needs_input_grad(0)) result[0] = summed.wait();
    return result;
  }

  // This rank's term of the gradient of all tokens. Added up in the order in which autograd would.
  static at::Tensor term_of_tokens(const variable_list& grads, const variable_list& saved) {
    at::Tensor term = ops::linear_gradient_of_x(grads.back(), saved.back());
    for (size_t i = grads.size() - 1; i > 0; --i) {
      term.add_(ops::linear_gradient_of_x(grads[i - 1], saved[i]));
    }
    return term;
  }
};

}  // namespace

std::vector<at::Tensor> gathered_products(const at::Tensor& own,
                                          const std::vector<ops::Matrix>& matrices,
                                          const TokenShares& shares, const Communicator& tensor) {
  std::vector<at::Tensor> products, weights, converted;
  if (tensor.size() > 1) {
    for (const ops::Matrix& matrix : matrices) {
      weights.push_back(matrix.weight);
      converted.push_back(matrix.in(own.scalar_type()));
    }
    return GatheredProducts::apply(own, at::TensorList(weights), at::TensorList(converted),
                                   c10::make_intrusive<Held>(shares, tensor));
  }
  for (const ops::Matrix& matrix : matrices) products.push_back(ops::linear(own, matrix));
  return products;
}

at::Tensor summed_product(const at::Tensor& x, const ops::Matrix& matrix, const TokenShares& shares,
                          const Communicator& tensor) {
  return scatter_sum(ops::linear(x, matrix), kTokens, shares.tokens, tensor);
}

}  // namespace praxino
