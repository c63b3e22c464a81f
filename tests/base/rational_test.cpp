#include "praxino/base/rational.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "praxino/base/error.h"
#include "support/error_text.h"

namespace praxino {
namespace {

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();

TEST(Rational, IsKeptInLowestTermsWithAPositiveDenominator) {
  EXPECT_EQ(Rational(60, 2).str(), "30");
  EXPECT_EQ(Rational(-6, -4).str(), "3/2");
  EXPECT_EQ(Rational(6, -4).str(), "-3/2");
  EXPECT_EQ(Rational(0, -7), Rational());
  EXPECT_EQ(Rational(kLeast, kLeast), Rational(1));
  EXPECT_EQ(Rational(kLeast, -2).numerator, int64_t{1} << 62);
}

TEST(Rational, Computes) {
  const Rational ntsc(30000, 1001);
  EXPECT_EQ(Rational(1, 2) + Rational(1, 3), Rational(5, 6));
  EXPECT_EQ(Rational(1, 2) - Rational(1, 3), Rational(1, 6));
  EXPECT_EQ(ntsc * Rational(1001, 30000), Rational(1));
  EXPECT_EQ(Rational(1) / ntsc, Rational(1001, 30000));
  EXPECT_EQ(Rational(kMost, 3) * Rational(3, kMost), Rational(1));  // goes through 128 bits
  EXPECT_DOUBLE_EQ(ntsc.value(), 29.97002997002997);
}

TEST(Rational, OrdersExactly) {
  EXPECT_LT(Rational(1, 3), Rational(3334, 10000));
  EXPECT_LT(Rational(kMost, kMost - 1), Rational(kMost - 1, kMost - 2));  // equal as doubles
  EXPECT_LT(Rational(kMost - 1, kMost), Rational(1));
  EXPECT_GT(Rational(-1, 3), Rational(-1, 2));
}

TEST(Rational, FloorsTowardsMinusInfinity) {
  EXPECT_EQ(Rational(7, 2).floor(), 3);
  EXPECT_EQ(Rational(-7, 2).floor(), -4);
  EXPECT_EQ(Rational(-4).floor(), -4);
}

TEST(Rational, ParsesRates) {
  EXPECT_EQ(Rational::parse("35"), Rational(35));
  EXPECT_EQ(Rational::parse("17.5"), Rational(35, 2));
  EXPECT_EQ(Rational::parse("29.97"), Rational(2997, 100));
  EXPECT_EQ(Rational::parse("30000/1001"), Rational(30000, 1001));
  EXPECT_EQ(Rational::parse("-1/4"), Rational(-1, 4));
  EXPECT_EQ(Rational::parse("0.000000000000000001"), Rational(1, 1'000'000'000'000'000'000));
}

TEST(Rational, RefusesOtherText) {
  for (const char* text : {"",
                           "-",
                           "a",
                           "1.",
                           ".5",
                           "1/",
                           "/2",
                           "1/0",
                           "1/-2",
                           "--1",
                           "1e3",
                           "1 ",
                           " 1",
                           "1.-5",
                           "+1",
                           "9223372036854775808",
                           "0.0000000000000000001",
                           "1/2/3",
                           "1.5/2",
                           "nan"}) {
    EXPECT_THAT(testing::error_text([&] { Rational::parse(text); }),
                ::testing::StartsWith(fmt::format("'{}' is not a number", text)));
  }
}

TEST(Rational, RefusesWhatDoesNotFit) {
  EXPECT_THROW(Rational(1, 0), Error);
  EXPECT_THROW(Rational(1) / Rational(0), Error);
  EXPECT_THROW(Rational(kMost) * Rational(2), Error);
  EXPECT_THROW(Rational(1, kMost) + Rational(1, kMost - 1), Error);
  EXPECT_THROW(Rational(kLeast, -1), Error);
}

}  // namespace
}  // namespace praxino
