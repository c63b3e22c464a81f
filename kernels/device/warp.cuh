#pragma once
// Values that travel between the lanes of a warp. All lanes of `mask` must make the same call. A
// shuffle orders no memory accesses: for those there is sync_warp().

#include "kernels/bf16.h"
#include "kernels/device/math.cuh"
#include "kernels/device/thread.cuh"

namespace praxino::kernels::device {

/// The value of lane ^ distance.
PRAXINO_DEVICE float shuffle_xor(float value, int distance, uint32_t mask = kFullWarp,
                                 [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  return __shfl_xor_sync(mask, value, distance);
#else
  const uint32_t bits = bits_of(value);
  return float_of(cpu::exchange(cpu::Collective::kShuffleXor, mask, bits, distance, site));
#endif
}

/// The same for a double, as its two halves.
PRAXINO_DEVICE double shuffle_xor(double value, int distance, uint32_t mask = kFullWarp,
                                  [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  return __shfl_xor_sync(mask, value, distance);
#else
  const auto bits = __builtin_bit_cast(uint64_t, value);
  const auto half = [&](uint64_t word) {
    return uint64_t{cpu::exchange(cpu::Collective::kShuffleXor, mask, static_cast<uint32_t>(word),
                                  distance, site)};
  };
  const uint64_t low = half(bits), high = half(bits >> 32);
  return __builtin_bit_cast(double, high << 32 | low);
#endif
}

/// The value of lane + distance; the lane's own where that is past the last.
PRAXINO_DEVICE float shuffle_down(float value, int distance, uint32_t mask = kFullWarp,
                                  [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  return __shfl_down_sync(mask, value, static_cast<unsigned>(distance));
#else
  const uint32_t bits = bits_of(value);
  return float_of(cpu::exchange(cpu::Collective::kShuffleDown, mask, bits, distance, site));
#endif
}

/// The value of lane number `lane`.
PRAXINO_DEVICE float shuffle(float value, int lane, uint32_t mask = kFullWarp,
                             [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  return __shfl_sync(mask, value, lane);
#else
  const uint32_t bits = bits_of(value);
  return float_of(cpu::exchange(cpu::Collective::kShuffle, mask, bits, lane, site));
#endif
}

/// The same number, equal in all lanes, in a way that the compiler knows it to be.
PRAXINO_DEVICE int uniform(int value, Site site = PRAXINO_HERE) {
  const float bits = float_of(static_cast<uint32_t>(value));
  return static_cast<int>(bits_of(shuffle(bits, 0, kFullWarp, site)));
}

/// The sum over aligned groups of `lanes` lanes (a power of two, at most 32), in every lane of the
/// group and in the same order for all: equal bits.
template <class T>
PRAXINO_DEVICE T group_sum(T value, int lanes, [[maybe_unused]] Site site = PRAXINO_HERE) {
  for (int distance = lanes / 2; distance > 0; distance /= 2)
    value += shuffle_xor(value, distance, kFullWarp, site);
  return value;
}

/// The largest over such a group; a NaN may be lost.
PRAXINO_DEVICE float group_max(float value, int lanes, [[maybe_unused]] Site site = PRAXINO_HERE) {
  for (int distance = lanes / 2; distance > 0; distance /= 2)
    value = maximum(value, shuffle_xor(value, distance, kFullWarp, site));
  return value;
}

}  // namespace praxino::kernels::device
