#pragma once
// Arithmetic of which every bit is known: single roundings, to the nearest, ties to even.

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/device/site.cuh"

#if !defined(__CUDACC__)
#include <cmath>
#endif

namespace praxino::kernels::device {

/// x * y + z, rounded once.
PRAXINO_DEVICE float multiply_add_rounded(float x, float y, float z) {
#if defined(__CUDACC__)
  float sum;
  asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(sum) : "f"(x), "f"(y), "f"(z));
  return sum;
#else
  return std::fma(x, y, z);
#endif
}

/// x / y for the rounded 1 / y, at three instructions: exact unless something under- or overflows
/// (Markstein, "Computation of elementary functions on the IBM RISC System/6000", 1990, theorem 8).
PRAXINO_DEVICE float quotient_rounded(float x, float y, float one_over_y) {
  const float near = x * one_over_y;
  return multiply_add_rounded(multiply_add_rounded(-near, y, x), one_over_y, near);
}

/// The whole number nearest to a product.
struct Whole {
  float value;
  int number;
};

/// Of x * y, rounded once, for results within 0 .. 2^22: where floats have no bits behind the
/// point, adding rounds. Conversion instructions have a quarter of an addition's rate.
PRAXINO_DEVICE Whole nearest_product(float x, float y) {
  constexpr float kNoFraction = 12582912.0F;  // 1.5 * 2^23
  const float sum = multiply_add_rounded(x, y, kNoFraction);
  return {sum - kNoFraction, static_cast<int>(bits_of(sum) - bits_of(kNoFraction))};
}

}  // namespace praxino::kernels::device
