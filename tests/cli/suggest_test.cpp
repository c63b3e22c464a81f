#include "cli/suggest.h"

#include <gtest/gtest.h>

namespace praxino {
namespace {

TEST(Suggest, FindsTheNearestWord) {
  EXPECT_EQ(nearest("trian", {"eval", "train", "rain"}), "train");  // one swap of neighbours
  EXPECT_EQ(nearest("evl", {"eval", "train"}), "eval");
  EXPECT_EQ(nearest("--fersh", {"--from", "--fresh"}), "--fresh");
}

TEST(Suggest, AFarWordHasNoNeighbour) {
  EXPECT_EQ(nearest("xyz", {"train", "eval"}), "");
  EXPECT_EQ(nearest("train", {}), "");
  EXPECT_EQ(nearest("", {"train"}), "");
}

}  // namespace
}  // namespace praxino
