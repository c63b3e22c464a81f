#pragma once
// What the arithmetic of the device layer must give, by a way of its own: sums and products in
// double, roundings by comparing neighbours, and of fast instructions how far from the exact value
// the PTX manual lets them be. `Gpu` is the emulator or a device, as in expect_probes.h.

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <functional>

#include "kernels/numbers.h"
#include "kernels/probes_portable.h"

namespace praxino::kernels::testing {

using Words3 = std::array<uint32_t, 3>;
using Words2 = std::array<uint32_t, 2>;

inline constexpr uint32_t kSpecials[] = {
    0x00000000, 0x80000000,                                      // zeros
    0x00000001, 0x80000001, 0x007fffff, 0x807fffff,              // subnormal
    0x00800000, 0x80800000, 0x00ffffff, 0x7f7fffff, 0xff7fffff,  // smallest normal, largest
    0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x7f800001,  // infinities, not numbers
    0x3f800000, 0xbf800000, 0x3f7fffff, 0x3f800001, 0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001,
    0x7f7f7fff, 0x7f7f8000, 0x00008000, 0x00018000, 0x00007fff,  // ties of bfloat16, where it ends
    0x7e800000, 0x7e800001, 0x7f000000, 0x42fe0000, 0xc2fc0000, 0xc2fc0001, 0xc3150000, 0x43000000};

/// Pairs of special values, and `count` of random bits, so of every exponent.
inline std::vector<Words3> any_floats(int count, uint64_t seed) {
  std::vector<Words3> list;
  for (const uint32_t x : kSpecials) {
    for (const uint32_t y : kSpecials) list.push_back({x, y, kSpecials[list.size() % 37]});
  }
  std::mt19937_64 random(seed);
  for (int i = 0; i < count; ++i) {
    const uint64_t bits = random();
    list.push_back({static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32),
                    static_cast<uint32_t>(random())});
  }
  return list;
}

/// x, y, z within the bounds, of either sign if `low` is negative.
inline std::vector<Words3> floats_within(float low, float high, int count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> within(low, high);
  std::vector<Words3> list(static_cast<size_t>(count));
  for (Words3& words : list) {
    for (uint32_t& word : words) word = bits_of(within(random));
  }
  return list;
}

template <class Gpu>
std::vector<Words2> apply(Gpu& gpu, Arithmetic function, const std::vector<Words3>& operands) {
  std::vector<uint32_t> columns[3];
  for (const Words3& words : operands) {
    for (size_t i = 0; i < 3; ++i) columns[i].push_back(words[i]);
  }
  const size_t count = operands.size();
  const ArithmeticProbe p{function,
                          gpu.upload(columns[0]),
                          gpu.upload(columns[1]),
                          gpu.upload(columns[2]),
                          gpu.template allocate<uint32_t>(2 * count),
                          static_cast<int>(count)};
  EXPECT_TRUE(launch_probe(p, nullptr).ok());
  const std::vector<uint32_t> words = gpu.download(p.to, 2 * count);
  std::vector<Words2> results;
  for (size_t i = 0; i < count; ++i) results.push_back({words[2 * i], words[2 * i + 1]});
  return results;
}

/// `right`(result, operands) for each; the first that is not ends the test.
template <class Gpu, class Right>
void expect_each(Gpu& gpu, Arithmetic function, const std::vector<Words3>& operands, Right right) {
  const std::vector<Words2> results = apply(gpu, function, operands);
  for (size_t i = 0; i < operands.size(); ++i) {
    ASSERT_TRUE(right(results[i], operands[i]))
        << std::hex << "of " << operands[i][0] << ", " << operands[i][1] << ", " << operands[i][2]
        << ": " << results[i][0] << ", " << results[i][1];
  }
}

/// Equal bits; one NaN is as good as another, whose payload the instructions choose.
inline bool same(uint32_t bits, float want) {
  const float value = float_of(bits);
  return std::isnan(want) ? std::isnan(value) : bits == bits_of(want);
}

/// The bfloat16 next to it, of two equally near ones the even one.
inline bool nearest_bf16(uint32_t half, float value) {
  const float got = float_of(half << 16);
  if (half > 0xffff) return false;
  if (std::isnan(value)) return std::isnan(got);
  const uint32_t low = bits_of(value) >> 16, high = low + 1;
  // Infinity stands where the next number would.
  const auto place = [](uint32_t bits) {
    const float at = float_of(bits << 16);
    return std::isinf(at) ? std::copysign(0x1p128, at) : static_cast<double>(at);
  };
  if (std::isinf(value) || place(low) == static_cast<double>(value)) return half == low;
  const double below = std::fabs(place(low) - static_cast<double>(value)),
               above = std::fabs(place(high) - static_cast<double>(value));
  return half == (below < above || (below == above && low % 2 == 0) ? low : high);
}

template <class Gpu>
void expect_bf16(Gpu& gpu) {
  // Every upper half, before, at and behind its end and the tie.
  std::vector<Words3> all;
  for (const uint32_t low : {0x0000U, 0x0001U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
    for (uint32_t high = 0; high < 0x10000; ++high)
      all.push_back({high << 16 | low, (high * 40503U) << 16 | low, 0});
  }
  expect_each(gpu, Arithmetic::kPackBf16, all, [](const Words2& got, const Words3& of) {
    return nearest_bf16(got[0] & 0xffff, float_of(of[0])) &&
           nearest_bf16(got[0] >> 16, float_of(of[1]));
  });
  const auto some = any_floats(2000, 1);
  expect_each(gpu, Arithmetic::kStoreBf16, some, [](const Words2& got, const Words3& of) {
    return nearest_bf16(got[0], float_of(of[0]));
  });
  expect_each(gpu, Arithmetic::kLoadBf16, some,
              [](const Words2& got, const Words3& of) { return got[0] == of[0] << 16; });
  expect_each(gpu, Arithmetic::kUnpackBf16, some, [](const Words2& got, const Words3& of) {
    return got[0] == of[0] << 16 && got[1] == (of[0] & 0xffff0000U);
  });
}

/// x y + z rounded once: rounded to odd in double, which loses nothing that the float's rounding
/// asks for (Boldo and Melquiond, "Emulation of FMA", 2008).
inline float sum_of_product(float x, float y, float z) {
  const double product = double{x} * double{y}, sum = product + double{z};
  if (!std::isfinite(sum)) return static_cast<float>(sum);
  const double part = sum - product, lost = (product - (sum - part)) + (double{z} - part);
  auto bits = std::bit_cast<uint64_t>(sum);
  if (lost != 0 && bits % 2 == 0) bits += (lost > 0) == (sum > 0) ? 1 : uint64_t(-1);
  return static_cast<float>(std::bit_cast<double>(bits));
}

template <class Gpu>
void expect_roundings(Gpu& gpu) {
  auto some = any_floats(4000, 2);
  for (const float high : {1.0F, 1e-3F}) {  // sums that cancel, among others
    const auto more = floats_within(-high, high, 2000, 3);
    some.insert(some.end(), more.begin(), more.end());
  }
  for (size_t i = 0; i < some.size(); i += 5)
    some[i][2] = bits_of(-float_of(some[i][0]) * float_of(some[i][1]));
  expect_each(gpu, Arithmetic::kMultiplyAddRounded, some, [](const Words2& got, const Words3& of) {
    return same(got[0], sum_of_product(float_of(of[0]), float_of(of[1]), float_of(of[2])));
  });
  expect_each(gpu, Arithmetic::kMultiplyRounded, some, [](const Words2& got, const Words3& of) {
    const auto product = static_cast<float>(double{float_of(of[0])} * double{float_of(of[1])});
    return same(got[0], static_cast<float>(double{product} + double{float_of(of[2])}));
  });
  expect_each(gpu, Arithmetic::kMultiplyWide, some, [](const Words2& got, const Words3& of) {
    const long double product =  // of 64 bits
        static_cast<long double>(static_cast<int>(of[0])) * static_cast<int>(of[1]);
    return static_cast<int64_t>(uint64_t{got[1]} << 32 | got[0]) == static_cast<int64_t>(product);
  });
  auto quotients = floats_within(1e-3F, 1e3F, 4000, 4);
  for (Words3& of : quotients) of[2] = bits_of(1.0F / float_of(of[1]));
  expect_each(gpu, Arithmetic::kQuotientRounded, quotients,
              [](const Words2& got, const Words3& of) {
                return got[0] == bits_of(float_of(of[0]) / float_of(of[1]));
              });
}

template <class Gpu>
void expect_whole_numbers(Gpu& gpu) {
  auto some = floats_within(-40, 40, 500, 5);
  for (int i = -20; i < 20; ++i) some.push_back({bits_of(static_cast<float>(i) + 0.5F), 0, 0});
  for (const float x : {2147483520.0F, -2147483648.0F, 8388607.5F, 1e-40F, -0.0F, 0.49999997F})
    some.push_back({bits_of(x), 0, 0});
  const auto nearest = [](double x) {
    const double low = std::floor(x), part = x - low;
    const bool even = std::fmod(low, 2) == 0;
    return static_cast<int64_t>(part < 0.5 || (part == 0.5 && even) ? low : low + 1);
  };
  expect_each(gpu, Arithmetic::kNearestInt, some, [&](const Words2& got, const Words3& of) {
    return static_cast<int>(got[0]) == nearest(double{float_of(of[0])});
  });
  auto products = floats_within(0, 2048, 2000, 6);
  for (int i = 0; i < 50; ++i) products.push_back({bits_of(static_cast<float>(i)), 0x3f000000, 0});
  expect_each(gpu, Arithmetic::kNearestProduct, products, [&](const Words2& got, const Words3& of) {
    const int64_t want = nearest(double{float_of(of[0])} * double{float_of(of[1])});
    return static_cast<int>(got[1]) == want && float_of(got[0]) == static_cast<float>(want);
  });
}

template <class Gpu>
void expect_maxima(Gpu& gpu) {
  const auto some = any_floats(1000, 7);
  expect_each(gpu, Arithmetic::kMaximum, some, [](const Words2& got, const Words3& of) {
    const float a = float_of(of[0]), b = float_of(of[1]);
    return std::isnan(a) ? std::isnan(float_of(got[0])) : got[0] == (b > a ? of[1] : of[0]);
  });
  // A zero with a sign is less than one without.
  expect_each(gpu, Arithmetic::kMaximumNumber, some, [](const Words2& got, const Words3& of) {
    const float a = float_of(of[0]), b = float_of(of[1]);
    if (std::isnan(a)) return same(got[0], b);
    if (std::isnan(b) || a > b) return got[0] == of[0];
    return a < b ? got[0] == of[1] : got[0] == (of[0] & of[1]);
  });
}

/// Both roots: exact to the last bit where no double lies nearer to the square.
template <class Gpu>
void expect_square_roots(Gpu& gpu) {
  auto some = any_floats(4000, 8);
  for (size_t i = 0; i < some.size(); i += 2) some[i][1] &= 0x7fffffff;
  expect_each(gpu, Arithmetic::kSqrtExact, some, [](const Words2& got, const Words3& of) {
    const auto x = std::bit_cast<double>(uint64_t{of[1]} << 32 | of[0]);
    const auto root = std::bit_cast<double>(uint64_t{got[1]} << 32 | got[0]);
    if (std::isnan(x) || x < 0) return std::isnan(root);
    if (x == 0 || std::isinf(x)) return std::bit_cast<uint64_t>(root) == std::bit_cast<uint64_t>(x);
    // x as m 4^k with m in 1/4 .. 4, whose root is exact where the root of x is.
    const int k = std::ilogb(x) / 2;
    const double m = std::ldexp(std::ldexp(x, -k), -k), r = std::ldexp(root, -k);
    const double unit = std::nextafter(r, 2.0 * r) - r;
    // |r^2 - m| to the last bit, against the distance to the square half a unit away.
    return std::fabs(std::fma(r, r, -m)) <= r * unit;
  });
}

/// How far a fast instruction's result may be from the exact value: `units` of the last bit of the
/// value rounded, `relative` times it, or `absolute`.
struct Bound {
  double units = 0, relative = 0, absolute = 0;
};

/// They take subnormal operands for zeros, and give zeros in place of subnormal results.
inline bool within_bound(float got, double want, const Bound& bound) {
  constexpr double kSmallest = std::numeric_limits<float>::min();
  constexpr double kLargest = std::numeric_limits<float>::max();
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want) || (want == 0 && bound.absolute == 0))
    return same(bits_of(got), static_cast<float>(want));
  const double size = std::clamp(std::fabs(want), kSmallest, kLargest);
  const double apart = bound.units * std::ldexp(1.0, std::ilogb(size) - 23) +
                       bound.relative * std::fabs(want) + bound.absolute;
  const bool same_sign = std::signbit(got) == std::signbit(want);
  if (got == 0 && std::fabs(want) < kSmallest + apart && same_sign) return true;
  if (std::isinf(got)) return same_sign && std::fabs(want) + apart > kLargest;
  return std::fpclassify(got) != FP_SUBNORMAL && std::fabs(double{got} - want) <= apart;
}

template <class Gpu>
void expect_fast(Gpu& gpu, Arithmetic function, const std::vector<Words3>& operands,
                 const std::function<double(double)>& exact, const Bound& bound) {
  expect_each(gpu, function, operands, [&](const Words2& result, const Words3& of) {
    const float x = float_of(of[0]);
    const double operand = std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0, x) : double{x};
    return within_bound(float_of(result[0]), exact(operand), bound);
  });
}

template <class Gpu>
void expect_fast_arithmetic(Gpu& gpu) {
  auto all = any_floats(6000, 9);
  for (const float high : {1.0F, 16.0F, 150.0F}) {
    const auto more = floats_within(-high, high, 2000, 10);
    all.insert(all.end(), more.begin(), more.end());
  }
  // PTX ISA, "Floating Point Instructions": the notes on each. Units are from the rounded value,
  // which is half a one from the exact.
  expect_fast(gpu, Arithmetic::kExp2, all, [](double x) { return std::exp2(x); }, {.units = 2.5});
  expect_fast(gpu, Arithmetic::kRsqrt, all, [](double x) { return 1 / std::sqrt(x); },
              {.relative = std::exp2(-22.9)});
  expect_fast(gpu, Arithmetic::kReciprocal, all, [](double x) { return 1 / x; }, {.units = 1.5});
  expect_fast(gpu, Arithmetic::kSqrt, all, [](double x) { return std::sqrt(x); },
              {.relative = 0x1p-23});
  std::vector<Words3> near, far;  // of 1
  for (const Words3& of : all) {
    const float x = float_of(of[0]);
    (x > 0.5F && x < 2 ? near : far).push_back(of);
  }
  const auto more = floats_within(0.5F, 2, 2000, 11);
  near.insert(near.end(), more.begin() + 1, more.end());
  const auto log2 = [](double x) { return std::log2(x); };
  expect_fast(gpu, Arithmetic::kLog2, near, log2, {.absolute = 0x1p-22});
  expect_fast(gpu, Arithmetic::kLog2, far, log2, {.relative = 0x1p-22});
  // The argument of its exponential is rounded twice: 2^-23 of at most 150.
  expect_fast(gpu, Arithmetic::kSigmoid, all, [](double x) { return 1 / (1 + std::exp(-x)); },
              {.relative = 0x1p-20 + 150 * 0x1p-23});
}

}  // namespace praxino::kernels::testing
