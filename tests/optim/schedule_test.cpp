#include <gtest/gtest.h>

#include "praxino/optim/optimizer.h"

namespace praxino {
namespace {

OptimConfig schedule(const std::string& name, int64_t warmup, double decay = 0.25) {
  OptimConfig config;
  config.schedule = name;
  config.warmup = warmup;
  config.decay = decay;
  return config;
}

TEST(Schedule, RisesLinearlyAndReachesTheTopWithTheLastWarmUpStep) {
  const OptimConfig config = schedule("constant", 4);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 0, 0), 0.25);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 2, 0), 0.75);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 3, 0), 1);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 400, 0.9), 1);
}

TEST(Schedule, StartsAtTheTopWithoutWarmUp) {
  EXPECT_DOUBLE_EQ(schedule_factor(schedule("constant", 0), 0, 0), 1);
}

TEST(Schedule, WsdIsFlatThenFallsToZero) {
  const OptimConfig config = schedule("wsd", 0);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 0, 0), 1);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 75, 0.75), 1);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 80, 0.875), 0.5);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 100, 1), 0);
}

TEST(Schedule, WsdWithoutDecayStaysFlatToTheEnd) {
  EXPECT_DOUBLE_EQ(schedule_factor(schedule("wsd", 0, 0), 100, 1), 1);
}

TEST(Schedule, CosineIsHalfWayInTheMiddle) {
  const OptimConfig config = schedule("cosine", 0);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 0, 0), 1);
  EXPECT_NEAR(schedule_factor(config, 50, 0.5), 0.5, 1e-15);
  EXPECT_NEAR(schedule_factor(config, 100, 1), 0, 1e-15);
}

TEST(Schedule, StaysBetweenZeroAndOneBeyondTheEndOfTheRun) {
  for (const char* name : {"wsd", "cosine", "constant"}) {
    const double factor = schedule_factor(schedule(name, 3), 1000, 1.5);
    EXPECT_GE(factor, 0) << name;
    EXPECT_LE(factor, 1) << name;
  }
}

}  // namespace
}  // namespace praxino
