#pragma once
// Small verbs for tensor tests: seeded random tensors, distances, gradients by autograd and by
// finite differences.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace praxino::testing {

inline at::Tensor normal(at::IntArrayRef shape, uint64_t seed = 1) {
  return at::randn(shape, at::make_generator<at::CPUGeneratorImpl>(seed),
                   at::TensorOptions().dtype(at::kFloat));
}

inline at::Tensor uniform(at::IntArrayRef shape, uint64_t seed = 1) {
  return at::rand(shape, at::make_generator<at::CPUGeneratorImpl>(seed),
                  at::TensorOptions().dtype(at::kFloat));
}

/// Largest absolute difference over the largest magnitude of `want`.
inline double relative_error(const at::Tensor& got, const at::Tensor& want,
                             double smallest = 1e-12) {
  const at::Tensor a = got.to(at::kDouble), b = want.to(at::kDouble);
  return (a - b).abs().max().item<double>() / std::max(smallest, b.abs().max().item<double>());
}

/// Unlike equal(): a zero is not its negative, and a NaN is itself.
inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) return false;
  const auto bytes = [](const at::Tensor& x) { return x.contiguous().flatten().view(at::kByte); };
  return bytes(a.detach()).equal(bytes(b.detach()));
}

using Function = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

/// Gradients of sum(f(inputs) * weight) by autograd.
inline std::vector<at::Tensor> gradients(const Function& f, const std::vector<at::Tensor>& inputs,
                                         const at::Tensor& weight) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& x : inputs) leaves.push_back(x.detach().clone().requires_grad_());
  (f(leaves).to(at::kFloat) * weight).sum().backward();
  std::vector<at::Tensor> result;
  for (const at::Tensor& x : leaves)
    result.push_back(x.grad().defined() ? x.grad() : at::zeros_like(x));
  return result;
}

}  // namespace praxino::testing
