#pragma once
// bfloat16 as its 16 bits: the upper half of a float. Plain arithmetic, for every compiler; the
// device has an instruction for the rounding (kernels/device/memory.cuh).

#include <cstdint>

#include "kernels/host_device.h"

namespace praxino::kernels {

// std::bit_cast, which nvcc knows on the host alone.
constexpr PRAXINO_HOST_DEVICE float float_of(uint32_t bits) {
  return __builtin_bit_cast(float, bits);
}
constexpr PRAXINO_HOST_DEVICE uint32_t bits_of(float value) {
  return __builtin_bit_cast(uint32_t, value);
}

struct Bf16 {
  uint16_t bits;
};

constexpr PRAXINO_HOST_DEVICE float to_float(float value) { return value; }
constexpr PRAXINO_HOST_DEVICE float to_float(Bf16 value) {
  return float_of(static_cast<uint32_t>(value.bits) << 16);
}

/// Rounds to nearest, ties to even; NaN stays NaN.
constexpr PRAXINO_HOST_DEVICE Bf16 to_bf16(float value) {
  const uint32_t bits = bits_of(value);
  if (value != value) return {static_cast<uint16_t>((bits >> 16) | 0x40U)};
  return {static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
}

}  // namespace praxino::kernels
