#pragma once
// Division by a number that stays the same, as a multiplication and a shift: a GPU has no
// instruction for the division of 64-bit integers, and takes about a hundred for it.
//
// With l = ceil(log2 d) and m = floor(2^(63+l) / d) + 1, m d - 2^(63+l) lies in (0, 2^l], so that
// floor(n m / 2^(63+l)) = floor(n / d) for 0 <= n < 2^63 (Granlund and Montgomery, "Division by
// invariant integers using multiplication", PLDI 1994, theorem 4.2). m fits 64 bits, as d >
// 2^(l-1).

#include <cstdint>

#include "kernels/host_device.h"

namespace praxino::kernels {

/// Divides by `by`, from 1.
class Divisor {
 public:
  constexpr Divisor() = default;
  constexpr explicit Divisor(int64_t by) : by_(by) {
    if (by <= 1) return;
    while ((uint64_t{1} << shift_) < static_cast<uint64_t>(by)) ++shift_;
    // floor(2^(63+l) / d) by long division, a bit of the quotient at a time.
    const auto d = static_cast<uint64_t>(by);
    uint64_t quotient = 0, rest = 1;
    for (int i = 0; i < 63 + shift_; ++i) {
      rest *= 2;
      quotient *= 2;
      if (rest >= d) {
        rest -= d;
        ++quotient;
      }
    }
    multiplier_ = quotient + 1;
    --shift_;
  }
  constexpr PRAXINO_HOST_DEVICE int64_t by() const { return by_; }
  /// floor(n / by), n from 0.
  constexpr PRAXINO_HOST_DEVICE int64_t quotient(int64_t n) const {
    if (multiplier_ == 0) return n;
    return static_cast<int64_t>(high(static_cast<uint64_t>(n), multiplier_) >> shift_);
  }
  constexpr PRAXINO_HOST_DEVICE int64_t remainder(int64_t n) const { return n - quotient(n) * by_; }

 private:
  /// The upper half of the product.
  static constexpr PRAXINO_HOST_DEVICE uint64_t high(uint64_t a, uint64_t b) {
    __extension__ using Wide = unsigned __int128;  // no part of the standard
    return static_cast<uint64_t>(static_cast<Wide>(a) * b >> 64);
  }
  int64_t by_ = 1;
  uint64_t multiplier_ = 0;  // 0: by one
  int shift_ = 0;
};

}  // namespace praxino::kernels
