#pragma once
// Attention of tensors without memory.

#include <ATen/core/Tensor.h>

namespace praxino::ops {

/// Keeps and allocates what an attention of the FlashAttention family does (arXiv 2307.08691):
/// q, k, v, the result and one float32 log-sum-exp a query and head are kept; the backward pass
/// makes three gradients. q: R S H K; k, v: R L G K -> R S H K. All on at::kMeta; differentiable,
/// without values.
at::Tensor planned_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

}  // namespace praxino::ops
