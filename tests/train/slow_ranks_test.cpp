#include "train/slow_ranks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "praxino/base/random.h"

namespace praxino {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<RankPace> paces(const std::vector<double>& seconds) {
  std::vector<RankPace> all;
  for (const double s : seconds) all.push_back({.compute = s, .loader = 0});
  return all;
}

TEST(SlowRanks, NamesOneThatIsSlowForLongEnough) {
  SlowRanks slow(1.5, 5);
  for (int step = 1; step <= 50; ++step) {
    std::vector<RankPace> all = paces({0.1, 0.1, 0.15, 0.11});
    all[2].loader = 0.05;
    const std::vector<std::string> lines = slow.add(all);
    ASSERT_EQ(lines.size(), step == 5 || step == 50 ? 1U : 0U) << step;
    if (step == 5) {
      EXPECT_EQ(lines[0],
                "rank 2 is slow: 0.2 s a step of its own over 5 steps (0.05 s of it waiting for "
                "its loader), the median of the ranks is 0.1 s");
    }
  }
}

TEST(SlowRanks, OfTwoTheSlowerIsNamed) {
  SlowRanks slow(1.5, 2);
  EXPECT_THAT(slow.add(paces({0.4, 0.1})), IsEmpty());
  const std::vector<std::string> lines = slow.add(paces({0.4, 0.1}));
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_THAT(lines[0], HasSubstr("rank 0 is slow"));
}

TEST(SlowRanks, OneQuickStepBeginsAnew) {
  SlowRanks slow(1.5, 3);
  for (int i = 0; i < 30; ++i) {
    EXPECT_THAT(slow.add(paces({0.1, i % 3 == 2 ? 0.1 : 0.9, 0.1})), IsEmpty());
  }
}

// Two ranks, each of whose steps takes up to half again as long at random.
TEST(SlowRanks, NoiseIsNoAlarm) {
  SlowRanks slow(1.5, 20);
  Random random(derive_seed(1, "noise", 0));
  for (int i = 0; i < 10'000; ++i) {
    const auto noisy = [&] { return 0.1 + 1e-6 * static_cast<double>(random.integer(60'000)); };
    EXPECT_THAT(slow.add(paces({noisy(), noisy()})), IsEmpty());
  }
}

TEST(SlowRanks, ShortTimesAndAFactorOfNothingNameNobody) {
  SlowRanks slow(1.5, 1), off(0, 1);
  EXPECT_THAT(slow.add(paces({1e-4, 9e-4})), IsEmpty());  // less than a millisecond apart
  EXPECT_THAT(off.add(paces({0.1, 0.9})), IsEmpty());
  EXPECT_EQ(slow.add(paces({0.1, 0.9})).size(), 1U);
}

}  // namespace
}  // namespace praxino
