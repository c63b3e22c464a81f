#include "praxino/eval/interval.h"

#include <gmock/gmock.h>

#include <limits>

#include "praxino/base/error.h"
#include "praxino/base/random.h"

namespace praxino::eval {
namespace {

std::vector<double> normals(int64_t count, uint64_t key) {
  Random random(key);
  std::vector<double> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(3 + 2 * random.normal());
  return values;
}

TEST(MeanInterval, IsThePointForOneClipOrEqualClips) {
  const Interval one = mean_interval({4.5});
  EXPECT_EQ(one.mean, 4.5);
  EXPECT_EQ(one.low, 4.5);
  EXPECT_EQ(one.high, 4.5);
  const Interval equal = mean_interval({2, 2, 2});
  EXPECT_EQ(equal.low, 2);
  EXPECT_EQ(equal.high, 2);
  EXPECT_EQ(equal.n, 3);
}

TEST(MeanInterval, HasTheWidthOfTheNormalTheory) {
  const Interval interval = mean_interval(normals(400, 1));
  EXPECT_NEAR(interval.mean, 3, 0.3);
  EXPECT_NEAR(interval.high - interval.low, 2 * 1.96 * 2 / 20, 0.05);
}

TEST(MeanInterval, CoversTheTruthInNineteenOfTwentyExperiments) {
  int covered = 0;
  for (uint64_t key = 0; key < 100; ++key) {
    const Interval interval = mean_interval(normals(40, key + 10));
    covered += interval.low <= 3 && 3 <= interval.high;
  }
  EXPECT_GE(covered, 88);
  EXPECT_LE(covered, 99);
}

TEST(MeanInterval, IsTheSameEveryTime) {
  const Interval a = mean_interval({1, 5, 2, 8}), b = mean_interval({1, 5, 2, 8});
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
}

TEST(RatioInterval, DividesSumsAndResamplesPairs) {
  const Interval interval = ratio_interval({2, 6, 1}, {1, 3, 0.5});
  EXPECT_DOUBLE_EQ(interval.mean, 2);
  EXPECT_DOUBLE_EQ(interval.low, 2);
  EXPECT_DOUBLE_EQ(interval.high, 2);
  EXPECT_DOUBLE_EQ(ratio_interval({1, 3}, {1, 1}).mean, 2);
}

TEST(Intervals, RefuseNothingAndWhatIsNotFinite) {
  EXPECT_THROW(mean_interval({}), Error);
  EXPECT_THROW(mean_interval({1, std::numeric_limits<double>::quiet_NaN()}), Error);
  EXPECT_THROW(ratio_interval({1, 2}, {1}), Error);
}

}  // namespace
}  // namespace praxino::eval
