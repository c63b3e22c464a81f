#include "kernels/tiers.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace praxino::kernels {
namespace {

struct Chip {
  int major;
  int minor;
  Tier best;
};

const std::vector<Chip>& chips() {
  static const std::vector<Chip> list = {
      {7, 5, Tier::kNone},     {8, 0, Tier::kPortable}, {8, 6, Tier::kPortable},
      {8, 9, Tier::kPortable}, {9, 0, Tier::kHopper},   {10, 0, Tier::kRubin},
      {10, 3, Tier::kRubin},   {10, 7, Tier::kRubin},   {11, 0, Tier::kTma},
      {12, 0, Tier::kTma},     {12, 1, Tier::kTma},
  };
  return list;
}

TEST(Tiers, ACapabilityHasOneBestTier) {
  for (const Chip& chip : chips()) {
    EXPECT_STREQ(to_string(best_tier(chip.major, chip.minor)), to_string(chip.best))
        << chip.major << '.' << chip.minor;
  }
}

TEST(Tiers, EveryChipRunsItsBestTier) {
  for (const Chip& chip : chips())
    EXPECT_TRUE(runs_on(chip.best, chip.best)) << chip.major << '.' << chip.minor;
}

TEST(Tiers, WarpgroupKernelsRunOnHopperOnly) {
  for (const Chip& chip : chips()) {
    EXPECT_EQ(runs_on(Tier::kHopper, chip.best), chip.major == 9)
        << chip.major << '.' << chip.minor;
  }
}

TEST(Tiers, TensorMemoryKernelsRunOnTheFamilyTenOnly) {
  for (const Chip& chip : chips()) {
    EXPECT_EQ(runs_on(Tier::kRubin, chip.best), chip.major == 10)
        << chip.major << '.' << chip.minor;
  }
}

TEST(Tiers, NewerChipsKeepRunningThePtxTiers) {
  for (const Chip& chip : chips()) {
    EXPECT_EQ(runs_on(Tier::kPortable, chip.best), chip.major >= 8)
        << chip.major << '.' << chip.minor;
    EXPECT_EQ(runs_on(Tier::kTma, chip.best), chip.major >= 9) << chip.major << '.' << chip.minor;
  }
}

TEST(Tiers, AreFoundByName) {
  for (const Tier tier : {Tier::kNone, Tier::kPortable, Tier::kTma, Tier::kHopper, Tier::kRubin})
    EXPECT_EQ(tier_named(to_string(tier)), tier);
  for (const char* word : {"", "Portable", "wgmma", "portable "})
    EXPECT_EQ(tier_named(word), std::nullopt) << word;
}

static_assert(best_tier(10, 7) == Tier::kRubin, "usable in constant expressions");

}  // namespace
}  // namespace praxino::kernels
