#pragma once
// Division of numbers below 2^16 by one that stays the same: one multiplication of 32 bits.
//
// With m = ceil(2^32 / d), 0 <= m d - 2^32 < d, so that floor(n m / 2^32) = floor(n / d) where
// n d < 2^32 (Granlund and Montgomery, PLDI 1994, theorem 4.2).

#include <cstdint>

#include "kernels/host_device.h"

namespace praxino::kernels {

/// Divides by `by`, 1 .. 2^16.
class SmallDivisor {
 public:
  constexpr SmallDivisor() = default;
  constexpr explicit SmallDivisor(int64_t by)
      : by_(static_cast<uint32_t>(by)),
        multiplier_(by_ == 1 ? 0 : static_cast<uint32_t>(((uint64_t{1} << 32) + by_ - 1) / by_)) {}
  constexpr PRAXINO_HOST_DEVICE uint32_t by() const { return by_; }
  /// floor(n / by), n from 0 to 2^16 - 1.
  constexpr PRAXINO_HOST_DEVICE uint32_t quotient(uint32_t n) const {
    if (multiplier_ == 0) return n;
    return static_cast<uint32_t>(uint64_t{n} * multiplier_ >> 32);
  }

 private:
  uint32_t by_ = 1;
  uint32_t multiplier_ = 0;  // 0: by one
};

}  // namespace praxino::kernels
