#pragma once
// Matrix products of the transformer. Pure functions, thread-safe; differentiable.

#include <ATen/core/Tensor.h>

#include <utility>

namespace praxino::ops {

/// What to multiply with: a weight, out in, and, where the caller keeps one, its bfloat16 copy,
/// which holds what rounding the weight now would give.
struct Matrix {
  Matrix(at::Tensor w, at::Tensor c = {}) : weight(std::move(w)), copy(std::move(c)) {}  // NOLINT
  /// The copy where it is of that type, else the weight, converted; without a gradient.
  at::Tensor in(at::ScalarType type) const;
  at::Tensor weight;  // float32 master
  at::Tensor copy;
};

/// y = x weight^T (+ bias). x: ... in, weight: out in, bias: out. Computes in x's dtype: for
/// bfloat16 the weight is rounded to bfloat16, products are accumulated in float32 (on a GPU
/// because build_world has said so to LibTorch) and y is bfloat16; the weight's gradient is float32
/// again. Shape mismatch: c10::Error.
at::Tensor linear(const at::Tensor& x, const Matrix& matrix, const at::Tensor& bias = {});

/// Its two gradients without a bias, for those who order the backward pass themselves. grad: of y,
/// ... out; weight: in the type of grad. The first: ... in, as grad; the second: out in, float32.
at::Tensor linear_gradient_of_x(const at::Tensor& grad, const at::Tensor& weight);
at::Tensor linear_gradient_of_weight(const at::Tensor& grad, const at::Tensor& x);

}  // namespace praxino::ops
