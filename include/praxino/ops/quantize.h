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

/// The row of `codebook` (K D float32) that is nearest to each vector of x: ... D of any float
/// dtype, in the Euclidean distance, as a search in double finds it; the lowest index of equal
/// distances. Exact on every device: what is fast is only the way (docs/kernels.md). A distance
/// that is not a number is never the smallest; a vector without another gets 0. Result: ..., int64,
/// without gradients. c10::Error where widths differ or the codebook is empty.
at::Tensor nearest_code(const at::Tensor& x, const at::Tensor& codebook);

/// Vector quantisation (van den Oord et al. 2017, arXiv 1711.00937): the nearest code of each
/// vector of x, in x's dtype, and its index. Straight through: the gradient of x is that of the
/// codes; the codebook gets none, it learns by its own loss or from code_statistics().
Quantized vector_quantize(const at::Tensor& x, const at::Tensor& codebook);

/// What a codebook that follows its rows by moving averages needs, and what finds unused codes.
struct CodeStatistics {
  at::Tensor counts;  // K, int64: vectors that chose each code
  at::Tensor sums;    // K D float32: their sum
};

/// x: ... D of any float dtype; indices: ..., int64, in 0 .. codes - 1: others are a c10::Error on
/// the CPU, and left out where the kernel serves (an error would wait for the device). Without
/// gradients. Deterministic, on a GPU, too: sums follow the order of the vectors.
CodeStatistics code_statistics(const at::Tensor& x, const at::Tensor& indices, int64_t codes);

namespace formula {
at::Tensor nearest_code(const at::Tensor& x, const at::Tensor& codebook);
CodeStatistics code_statistics(const at::Tensor& x, const at::Tensor& indices, int64_t codes);
Quantized finite_scalar_quantize(const at::Tensor& z, at::IntArrayRef levels);
}  // namespace formula

}  // namespace praxino::ops
