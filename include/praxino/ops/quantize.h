#pragma once
// Continuous vectors to entries of a codebook. Pure functions, thread-safe.

#include <ATen/core/Tensor.h>

namespace praxino::ops {

/// What became of vectors z: ... D.
struct Quantized {
  at::Tensor codes;    // ... D, the entries, in z's dtype
  at::Tensor indices;  // ..., int64: their numbers
};

/// Finite scalar quantisation (Mentzer et al. 2023, arXiv 2309.15505): channel i of z, any float
/// dtype, is squashed to u = tanh(z) and rounded to the nearest of levels[i] values spread evenly
/// over [-1, 1]: q = round((u + 1) / 2 * (L - 1)), ties to even, code 2 q / (L - 1) - 1. The index
/// counts codes with the first channel varying fastest. Differentiable, straight through the
/// rounding: the gradient of z is that of the codes times 1 - u^2. A NaN stays NaN and has q = 0.
/// levels: one for each channel, 2 .. 1024, their product below 2^62; c10::Error otherwise.
Quantized finite_scalar_quantize(const at::Tensor& z, at::IntArrayRef levels);

namespace formula {
Quantized finite_scalar_quantize(const at::Tensor& z, at::IntArrayRef levels);
}  // namespace formula

}  // namespace praxino::ops
