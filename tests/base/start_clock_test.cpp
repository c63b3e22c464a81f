#include "praxino/base/start_clock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "praxino/base/progress.h"

namespace praxino {
namespace {

using ::testing::ContainsRegex;

TEST(StartClock, TellsWhereTheTimeWent) {
  const double begin = monotonic_seconds();
  StartClock clock;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  clock.mark("data");
  clock.mark("model");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  clock.mark("data");
  const double passed = monotonic_seconds() - begin;
  ASSERT_EQ(clock.parts().size(), 2U);
  EXPECT_EQ(clock.parts()[0].first, "data");
  EXPECT_GE(clock.parts()[0].second, 0.04);
  EXPECT_LE(clock.total(), passed);
  EXPECT_GE(clock.total(), clock.parts()[0].second);
  EXPECT_THAT(clock.text(), ContainsRegex(" s: data [0-9]+\\.[0-9]+, model [0-9]+\\.[0-9]+"));
}

TEST(StartClock, KnowsTheAgeOfItsProcess) {
  const double first = StartClock::of_process().total();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const StartClock later = StartClock::of_process();
  EXPECT_EQ(later.parts().at(0).first, "process");
  EXPECT_GE(later.total(), first + 0.09);
  EXPECT_LT(later.total(), 3600);
}

}  // namespace
}  // namespace praxino
