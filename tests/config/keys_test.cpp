#include "config/keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "config/sample_section.h"
#include "praxino/config/load.h"

namespace praxino {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Sample;

TEST(Keys, AreListedInOrder) {
  EXPECT_THAT(list_keys<Sample>(), ElementsAre("fast", "steps", "name", "kind", "size", "scale",
                                               "inner.lr", "inner.files", "inner.betas", "bounds"));
}

TEST(Keys, AreDescribedWithTypeRangeDefaultAndMeaning) {
  EXPECT_EQ(
      describe_document<Sample>(),
      "  fast: true or false; default true\n      hurry\n"
      "  steps: whole number, at least 1; default 10\n      how many\n"
      "  name: text; default sample\n      any text\n"
      "  kind: text, one of red, green; default red\n      a colour\n"
      "  size: list of 2, each a whole number, 4 to 4096; default [64, 64]\n      height, width\n"
      "  scale: number, at most 2; default 0.5\n      any number\n"
      "\ninner: a section\n"
      "  inner.lr: number, 0 to 10; default 0.001\n      peak learning rate\n"
      "      change it: when it diverges\n"
      "  inner.files: list of text; default []\n      some files\n"
      "  inner.betas: list of 2, each a number, 0 to 1; default [0.9, 0.99]\n      decay rates\n"
      "  bounds: list of sections; default []\n      a list of sections\n"
      "  bounds[].metric: text; default \"\"\n      its name\n"
      "  bounds[].below: number; default none\n      upper bound\n");
}

TEST(Keys, OfARunAreUniqueAndEachIsDescribed) {
  const std::vector<std::string> keys = all_keys();
  EXPECT_EQ(std::set<std::string>(keys.begin(), keys.end()).size(), keys.size());
  EXPECT_THAT(keys, Contains("optim.lr"));
  EXPECT_THAT(keys, Contains("expect"));
  EXPECT_THAT(keys, Not(Contains("optim")));
  const std::string text = describe_keys();
  for (const std::string& key : keys) EXPECT_THAT(text, HasSubstr("\n  " + key + ": "));
}

}  // namespace
}  // namespace praxino
