#pragma once
// Attention over blocks of consecutive keys on the CPU: for every frame of queries one product with
// exactly the keys that it sees, instead of all keys and a mask.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace praxino::ops {

/// q, k, v: G S K of one dtype (float32 or bfloat16), S a multiple of `tokens`. Frame i (tokens
/// i*tokens ..) sees frames max(0, i - window + 1) .. i; window 0: all up to i. Differentiable;
/// result G S K.
at::Tensor blocked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             int64_t tokens, int64_t window);

}  // namespace praxino::ops
