#include "praxino/config/suggest.h"

#include <gtest/gtest.h>

namespace praxino {
namespace {

TEST(EditDistance, CountsEdits) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("steps", "setps"), 1);  // neighbours swapped
  EXPECT_EQ(edit_distance("same", "same"), 0);
}

TEST(NearestWord, FindsTyposAbbreviationsAndParts) {
  const std::vector<std::string_view> words = {"lr", "weight_decay", "warmup", "batch",
                                               "clip_frames"};
  EXPECT_EQ(nearest_word("warm_up", words), "warmup");
  EXPECT_EQ(nearest_word("wieght_decay", words), "weight_decay");
  EXPECT_EQ(nearest_word("learning_rate", words), "lr");
  EXPECT_EQ(nearest_word("batch_size", words), "batch");
  EXPECT_EQ(nearest_word("frames", words), "clip_frames");
  EXPECT_EQ(nearest_word("wd", words), "weight_decay");
  EXPECT_EQ(nearest_word("rl", words), "lr");
  EXPECT_EQ(nearest_word("zebra", words), "");
  EXPECT_EQ(nearest_word("x", words), "");
  EXPECT_EQ(nearest_word("", words), "");
  EXPECT_EQ(nearest_word(std::string(1'000'000, 'a'), words), "");
}

}  // namespace
}  // namespace praxino
