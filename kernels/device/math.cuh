#pragma once
// Arithmetic for which the device has an instruction that is faster than the standard library's
// function and less exact: about 1e-7 relative error each. The fast ones take subnormal operands
// for zeros and give zeros in place of subnormal results.

#include <cstdint>

#include "kernels/device/site.cuh"

#if !defined(__CUDACC__)
#include <cmath>
#endif

namespace praxino::kernels::device {

#if !defined(__CUDACC__)
namespace plain {

/// The value; a zero of its sign where it is subnormal.
inline float flushed(float x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0F, x) : x;
}

}  // namespace plain
#endif

/// 2^x; infinity and zero at the ends of the range.
PRAXINO_DEVICE float exp2_fast(float x) {
#if defined(__CUDACC__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return plain::flushed(std::exp2(x));
#endif
}

/// The base-2 logarithm; minus infinity for zero. Near x = 1 it is absolute: about 2e-7.
PRAXINO_DEVICE float log2_fast(float x) {
#if defined(__CUDACC__)
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::log2(plain::flushed(x));
#endif
}

/// The larger one; a NaN only where `a` is one.
PRAXINO_DEVICE float maximum(float a, float b) { return b > a ? b : a; }

/// The larger one, of zeros the positive one; the other one of a NaN.
PRAXINO_DEVICE float maximum_number(float a, float b) {
#if defined(__CUDACC__)
  float c;
  asm("max.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
  return c;
#else
  if (a != a) return b;  // fmax lets a signalling NaN win, and takes either zero
  return a == 0 && b == 0 ? a + b : maximum(a, b);
#endif
}

/// 1 / sqrt(x)
PRAXINO_DEVICE float rsqrt_fast(float x) {
#if defined(__CUDACC__)
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1.0F / std::sqrt(plain::flushed(x));
#endif
}

/// 1 / x
PRAXINO_DEVICE float reciprocal_fast(float x) {
#if defined(__CUDACC__)
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return plain::flushed(1.0F / plain::flushed(x));
#endif
}

/// sqrt(x)
PRAXINO_DEVICE float sqrt_fast(float x) {
#if defined(__CUDACC__)
  float y;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::sqrt(plain::flushed(x));
#endif
}

/// sqrt(x), exact to the last bit: for what is computed once.
PRAXINO_DEVICE double sqrt_exact(double x) {
#if defined(__CUDACC__)
  double y;
  asm("sqrt.rn.f64 %0, %1;" : "=d"(y) : "d"(x));
  return y;
#else
  return std::sqrt(x);
#endif
}

/// x * y, rounded by itself: the compiler may not join it with an addition that follows.
PRAXINO_DEVICE float multiply_rounded(float x, float y) {
#if defined(__CUDACC__)
  float z;
  asm("mul.rn.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y));
  return z;
#else
  return x * y;
#endif
}

/// The product in 64 bits, by one instruction.
PRAXINO_DEVICE int64_t multiply_wide(int x, int y) {
#if defined(__CUDACC__)
  int64_t z;
  asm("mul.wide.s32 %0, %1, %2;" : "=l"(z) : "r"(x), "r"(y));
  return z;
#else
  return int64_t{x} * y;
#endif
}

/// The nearest whole number, ties to even; for |x| below 2^31.
PRAXINO_DEVICE int nearest_int(float x) {
#if defined(__CUDACC__)
  int y;
  asm("cvt.rni.s32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
#else
  return static_cast<int>(std::nearbyint(x));
#endif
}

/// 1 / (1 + e^-x); NaN stays NaN.
PRAXINO_DEVICE float sigmoid_fast(float x) {
  return reciprocal_fast(1.0F + exp2_fast(x * -1.44269504F));
}

/// What RMSNorm multiplies by: 1 / sqrt(mean of squares + 1e-6).
PRAXINO_DEVICE float inverse_rms(float sum_of_squares, int64_t width) {
  return rsqrt_fast(sum_of_squares / static_cast<float>(width) + 1e-6F);
}

}  // namespace praxino::kernels::device
