#pragma once
// Matrix products of the transformer. Pure functions, thread-safe; differentiable.

#include <ATen/core/Tensor.h>

namespace praxino::ops {

/// y = x weight^T (+ bias). x: ... in, weight: out in (float32 master), bias: out. Computes in x's
/// dtype: for bfloat16 the weight is rounded to bfloat16, products are accumulated in float32 (on
/// a GPU because build_world has said so to LibTorch) and y is bfloat16; the weight's gradient is
/// float32 again. Shape mismatch: c10::Error.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {});

}  // namespace praxino::ops
