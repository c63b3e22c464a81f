#include "kernels/division.h"

#include <gtest/gtest.h>

#include <random>

#include "kernels/small_division.h"

namespace praxino::kernels {
namespace {

TEST(Division, EqualsTheLanguagesForAllSmallNumbers) {
  for (int64_t by = 1; by <= 300; ++by) {
    const Divisor divisor(by);
    EXPECT_EQ(divisor.by(), by);
    for (int64_t n = 0; n < 1000; ++n) {
      ASSERT_EQ(divisor.quotient(n), n / by) << n << " / " << by;
      ASSERT_EQ(divisor.remainder(n), n % by) << n << " % " << by;
    }
  }
}

// Every divisor at the numbers where an approximate multiplier would fail first.
TEST(Division, OfSmallNumbersIsThatOfTheLanguage) {
  for (uint32_t by = 1; by <= 1 << 16; ++by) {
    const SmallDivisor divisor(by);
    ASSERT_EQ(divisor.by(), by);
    for (uint32_t n = by - 1; n + 1 < 1 << 16; n += by) {
      ASSERT_EQ(divisor.quotient(n), n / by) << n << " / " << by;
      ASSERT_EQ(divisor.quotient(n + 1), (n + 1) / by) << n + 1 << " / " << by;
    }
    ASSERT_EQ(divisor.quotient(65535), 65535 / by);
  }
}

// Where an approximate multiplier would fail first: just below multiples, at the largest numbers.
TEST(Division, HoldsAtMultiplesUpToTheLargestNumbers) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const auto by = static_cast<int64_t>((random() >> (1 + random() % 62)) | 1) + (i % 2);
    const Divisor divisor(by);
    const int64_t most = INT64_MAX / by, some = static_cast<int64_t>(random() >> 1) % most + 1;
    for (const int64_t multiple : {by * most, by * some}) {
      ASSERT_EQ(divisor.quotient(multiple), multiple / by) << multiple << " / " << by;
      ASSERT_EQ(divisor.quotient(multiple - 1), (multiple - 1) / by) << multiple - 1 << " / " << by;
    }
    ASSERT_EQ(divisor.quotient(INT64_MAX), INT64_MAX / by) << by;
  }
}

TEST(Division, HoldsForPowersOfTwoAndTheirNeighbours) {
  for (int bit = 1; bit < 63; ++bit) {
    for (const int64_t by : {(int64_t{1} << bit) - 1, int64_t{1} << bit, (int64_t{1} << bit) + 1}) {
      const Divisor divisor(by);
      for (const int64_t n : {int64_t{0}, by - 1, by, INT64_MAX - 1, INT64_MAX})
        ASSERT_EQ(divisor.quotient(n), n / by) << n << " / " << by;
    }
  }
}

static_assert(Divisor(7).quotient(48) == 6);

}  // namespace
}  // namespace praxino::kernels
