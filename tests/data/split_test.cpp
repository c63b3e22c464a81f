#include <gmock/gmock.h>

#include "data/hand_made.h"
#include "praxino/data/clip.h"
#include "praxino/data/dataset.h"
#include "support/error_text.h"

namespace praxino {
namespace {

using testing::error_text;
using testing::four_fields;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::made_file;
using testing::one_file;
using testing::random_rows;
using ::testing::SizeIs;
using testing::steady_index;

Dataset files_of(const std::vector<std::pair<std::string, int64_t>>& sizes) {
  std::vector<SourceFile> files;
  for (const auto& [name, frames] : sizes)
    files.push_back(made_file(name, steady_index(frames, 35)));
  return Dataset("hand-made", {}, std::move(files), {{"broken.mp4", "broken.mp4: damaged"}});
}

std::vector<std::pair<std::string, int64_t>> numbered(int64_t count, int64_t frames) {
  std::vector<std::pair<std::string, int64_t>> files;
  for (int64_t i = 0; i < count; ++i) files.emplace_back(fmt::format("{:04}.mp4", i), frames);
  return files;
}

int64_t frames_in(const std::vector<Span>& spans) {
  int64_t sum = 0;
  for (const Span& span : spans) sum += span.last - span.first;
  return sum;
}

SplitConfig share(double val) {
  SplitConfig config;
  config.val = val;
  return config;
}

TEST(Split, HoldsOutAboutATenthOfTheFreedoomDemos) {
  const Dataset dataset = files_of({{"freedoom1_demo1.mp4", 1531},
                                    {"freedoom1_demo2.mp4", 2763},
                                    {"freedoom1_demo3.mp4", 1241},
                                    {"freedoom1_demo4.mp4", 6467},
                                    {"freedoom2_demo1.mp4", 1415},
                                    {"freedoom2_demo2.mp4", 4785},
                                    {"freedoom2_demo3.mp4", 2593},
                                    {"freedoom2_demo4.mp4", 1842}});
  const Split split = split_dataset(dataset, share(0.1));
  EXPECT_EQ(split.train.size() + split.val.size(), 8U);
  EXPECT_THAT(split.val, SizeIs(::testing::AllOf(::testing::Ge(1U), ::testing::Le(2U))));
  EXPECT_EQ(frames_in(split.train) + frames_in(split.val), 22637);
  EXPECT_NEAR(static_cast<double>(frames_in(split.val)) / 22637, 0.1, 0.03);
}

TEST(Split, MovesFewFilesWhenOneIsAdded) {
  auto sizes = numbered(200, 100);
  const Split before = split_dataset(files_of(sizes), share(0.1));
  EXPECT_THAT(before.val, SizeIs(20));
  sizes.emplace_back("new.mp4", 100);  // the last one, so that the numbers of the others stay
  const Split after = split_dataset(files_of(sizes), share(0.1));
  int64_t kept = 0;
  for (const Span& span : before.val) {
    kept += std::count(after.val.begin(), after.val.end(), span);
  }
  EXPECT_GE(kept, 19);
}

TEST(Split, TakesTheSmallestFileWhereEachIsFarMoreThanTheShare) {
  const Split split =
      split_dataset(files_of({{"a", 500}, {"b", 400}, {"c", 300}, {"d", 500}}), share(0.05));
  EXPECT_THAT(split.val, ::testing::ElementsAre(Span{2, 0, 300}));
}

TEST(Split, LeavesAFileToTrainOn) {
  const Split split = split_dataset(files_of(numbered(4, 100)), share(0.9));
  EXPECT_THAT(split.train, SizeIs(1));
}

TEST(Split, CutsTheEndOfEachOfAFewFiles) {
  const Split split = split_dataset(files_of({{"a", 100}, {"b", 50}, {"c", 1}}), share(0.1));
  EXPECT_THAT(split.train, ::testing::ElementsAre(Span{0, 0, 90}, Span{1, 0, 45}, Span{2, 0, 1}));
  EXPECT_THAT(split.val, ::testing::ElementsAre(Span{0, 90, 100}, Span{1, 45, 50}));
}

TEST(Split, HoldsOutNothingForAShareOfZero) {
  for (const int64_t count : {1, 3, 8}) {
    const Split split = split_dataset(files_of(numbered(count, 100)), share(0));
    EXPECT_THAT(split.val, IsEmpty());
    EXPECT_EQ(frames_in(split.train), count * 100);
  }
}

TEST(Split, HoldsOutExactlyTheNamedFiles) {
  const Dataset dataset = files_of(numbered(5, 100));
  SplitConfig config;
  config.val_files = {"0003.mp4", "0001.mp4", "0003.mp4"};
  const Split split = split_dataset(dataset, config);
  EXPECT_THAT(split.val, ::testing::ElementsAre(Span{1, 0, 100}, Span{3, 0, 100}));
  EXPECT_THAT(split.train, SizeIs(3));
}

TEST(Split, RefusesNamesThatCannotBeHeldOut) {
  const Dataset dataset = files_of(numbered(2, 100));
  const auto refusal = [&](std::vector<std::string> names) {
    SplitConfig config;
    config.val_files = std::move(names);
    return error_text([&] { split_dataset(dataset, config); });
  };
  EXPECT_THAT(refusal({"9.mp4"}), HasSubstr("no file 9.mp4 in hand-made"));
  EXPECT_THAT(refusal({"broken.mp4"}), HasSubstr("broken.mp4 cannot be used: broken.mp4: damaged"));
  EXPECT_THAT(refusal({"0000.mp4", "0001.mp4"}), HasSubstr("holds out every file of hand-made"));
}

// All clips of some spans, as numbers and actions.
std::vector<ClipPlan> all_clips(const Dataset& dataset, const std::vector<Span>& spans,
                                const Rational& fps) {
  const ClipSpace clips(dataset, spans, 4, fps);
  std::vector<ClipPlan> plans;
  for (int64_t i = 0; i < clips.size(); ++i) plans.push_back(clips.plan(i));
  return plans;
}

// The clips of one side of a split must not change when the rows of the other side do.
void expect_same_actions(const std::vector<ClipPlan>& a, const std::vector<ClipPlan>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].actions, b[i].actions) << "clip " << i << " from frame " << a[i].numbers.front();
    ASSERT_EQ(a[i].known, b[i].known);
  }
}

class SplitByTime : public ::testing::TestWithParam<const char*> {};

TEST_P(SplitByTime, SharesNeitherFramesNorActions) {
  Random random(1);
  const DatasetConfig config = four_fields(GetParam());
  const int64_t shift = config.alignment == "action_before_frame" ? 1 : 0;
  const FrameIndex index = testing::uneven_index(80, random);
  const ActionTable rows = random_rows(80, random);
  const Dataset dataset = one_file(config, index, rows);
  const Split split = split_dataset(dataset, share(0.4));
  const int64_t cut = split.val.front().first;
  // Rows that lead into a held-out frame are held out.
  ActionTable without_val = rows;
  ActionTable without_train = rows;
  for (int64_t k = 0; k < 80; ++k) {
    const int64_t into = k + 1 - shift;
    ActionTable& poisoned = into >= cut ? without_val : without_train;
    // The row across the cut belongs to the held-out frame it leads into, and no clip may read it.
    for (int64_t f = 0; f < 4; ++f) {
      poisoned.values[static_cast<size_t>(k * 4 + f)] = 1e6F;
      if (into == cut) without_train.values[static_cast<size_t>(k * 4 + f)] = 1e6F;
    }
  }
  for (const Rational fps :
       {Rational(3), Rational(10), Rational(25), Rational(70), Rational(200)}) {
    const auto train = all_clips(dataset, split.train, fps);
    const auto val = all_clips(dataset, split.val, fps);
    ASSERT_FALSE(train.empty());
    for (const ClipPlan& plan : train) ASSERT_LT(plan.numbers.back(), cut);
    for (const ClipPlan& plan : val) ASSERT_GE(plan.numbers.front(), cut);
    expect_same_actions(train, all_clips(one_file(config, index, without_val), split.train, fps));
    expect_same_actions(val, all_clips(one_file(config, index, without_train), split.val, fps));
  }
}

INSTANTIATE_TEST_SUITE_P(Alignments, SplitByTime,
                         ::testing::Values("action_at_frame", "action_before_frame"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace praxino
