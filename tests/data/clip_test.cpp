#include "praxino/data/clip.h"

#include <gmock/gmock.h>

#include <numeric>

#include "data/hand_made.h"

namespace praxino {
namespace {

using ::testing::ElementsAre;
using testing::four_fields;
using ::testing::HasSubstr;
using testing::index_at;
using testing::kTurn;
using testing::one_file;
using testing::random_rows;
using testing::steady_index;
using testing::uneven_index;
using testing::whole;

Rational random_fps(Random& random) {
  return {1 + random.integer(120'000), 1 + random.integer(2000)};
}

// The frame being shown at a time, by looking at all of them; -1 outside the file.
int64_t shown_at(const FrameIndex& index, const Rational& time) {
  if (time >= index.duration()) return -1;
  int64_t shown = -1;
  for (int64_t i = 0; i < index.frame_count() && index.seconds(i) <= time; ++i) shown = i;
  return shown;
}

float turn_of(const ClipPlan& plan, size_t k) { return plan.actions[k * 4 + kTurn]; }

TEST(ClipPlan, ShowsTheFrameOfEachTime) {
  Random random(1);
  int64_t planned = 0;
  for (int trial = 0; trial < 200; ++trial) {
    const Dataset dataset = one_file({}, uneven_index(60, random));
    const FrameIndex& index = *dataset.files()[0].index;
    const Rational fps(1 + random.integer(90), 1 + random.integer(3));
    const int64_t first = random.integer(60);
    const auto plan = plan_clip(dataset, whole(dataset), first, 8, fps);
    for (int64_t k = 0; k < 8; ++k) {
      // a time is compared with a slack of one tick: 1 ms here
      const Rational time = index.seconds(first) + Rational(k) / fps + Rational(1, 1000);
      const int64_t expected = shown_at(index, time);
      if (!plan) {
        EXPECT_EQ(shown_at(index, index.seconds(first) + Rational(7) / fps + Rational(1, 1000)),
                  -1);
        break;
      }
      EXPECT_EQ(plan->numbers[static_cast<size_t>(k)], expected);
    }
    planned += plan ? 1 : 0;
  }
  EXPECT_GT(planned, 50);
}

TEST(ClipPlan, SkipsAndRepeatsFramesAsTheRateSays) {
  const Dataset dataset = one_file({}, steady_index(20, 35));
  const auto numbers = [&](const Rational& fps) {
    return plan_clip(dataset, whole(dataset), 3, 5, fps)->numbers;
  };
  EXPECT_THAT(numbers(35), ElementsAre(3, 4, 5, 6, 7));
  EXPECT_THAT(numbers(Rational(35, 2)), ElementsAre(3, 5, 7, 9, 11));
  EXPECT_THAT(numbers(70), ElementsAre(3, 3, 4, 4, 5));
  EXPECT_THAT(numbers(20), ElementsAre(3, 4, 6, 8, 10));
}

TEST(ClipPlan, IsNotFooledByRoundedTicks) {
  for (const Rational fps : {Rational(30), Rational(30000, 1001), Rational(24), Rational(60)}) {
    const Dataset dataset = one_file({}, steady_index(2000, fps, Rational(1, 1000)));
    for (int64_t first = 0; first + 16 <= 2000; first += 7) {
      const auto plan = plan_clip(dataset, whole(dataset), first, 16, fps);
      ASSERT_TRUE(plan) << first;
      std::vector<int64_t> consecutive(16);
      std::iota(consecutive.begin(), consecutive.end(), first);
      ASSERT_EQ(plan->numbers, consecutive) << fps.str();
    }
  }
}

TEST(ClipPlan, TakesOneTickAFrameExactly) {
  const Dataset dataset = one_file({}, steady_index(20, 30, Rational(1, 30)));
  EXPECT_THAT(plan_clip(dataset, whole(dataset), 2, 5, 20)->numbers, ElementsAre(2, 3, 5, 6, 8));
}

TEST(ClipPlan, EndsWithTheSpan) {
  const Dataset dataset = one_file({}, steady_index(20, 35));
  EXPECT_TRUE(plan_clip(dataset, {0, 0, 20}, 16, 4, 35));
  EXPECT_FALSE(plan_clip(dataset, {0, 0, 20}, 17, 4, 35));
  EXPECT_TRUE(plan_clip(dataset, {0, 5, 15}, 11, 4, 35));
  EXPECT_FALSE(plan_clip(dataset, {0, 5, 15}, 12, 4, 35));
  EXPECT_FALSE(plan_clip(dataset, {0, 5, 15}, 4, 4, 35));
  EXPECT_TRUE(plan_clip(dataset, {0, 5, 15}, 14, 2, 70)) << "half a frame later is still shown";
  EXPECT_FALSE(plan_clip(dataset, {0, 5, 15}, 14, 3, 70));
}

TEST(ClipPlan, SumsDeltasOverExactlyTheRowsItSpans) {
  Random random(2);
  for (int trial = 0; trial < 300; ++trial) {
    const int64_t frames = 20 + random.integer(80);
    const Dataset dataset =
        one_file(four_fields(), uneven_index(frames, random), random_rows(frames, random));
    const auto plan = plan_clip(dataset, whole(dataset), random.integer(frames / 2),
                                2 + random.integer(6), random_fps(random));
    if (!plan) continue;
    float summed = 0;
    for (size_t k = 1; k < plan->numbers.size(); ++k) summed += turn_of(*plan, k);
    float rows = 0;
    for (int64_t row = plan->numbers.front(); row < plan->numbers.back(); ++row) {
      rows += dataset.files()[0].actions.row(row)[kTurn];
    }
    EXPECT_EQ(summed, rows);
  }
}

TEST(ClipPlan, IsTheSameForBothAlignments) {
  Random random(3);
  for (int trial = 0; trial < 300; ++trial) {
    const int64_t frames = 20 + random.integer(80);
    const FrameIndex index = uneven_index(frames, random);
    const ActionTable rows = random_rows(frames, random);
    const Dataset at_frame = one_file(four_fields(), index, rows);
    const Dataset before_frame =
        one_file(four_fields("action_before_frame"), index, testing::shifted_rows(rows));
    const Rational fps = random_fps(random);
    const Span span{0, random.integer(10), frames - random.integer(5)};
    const int64_t first = span.first + random.integer(4);
    const auto a = plan_clip(at_frame, span, first, 5, fps);
    const auto b = plan_clip(before_frame, span, first, 5, fps);
    ASSERT_EQ(a.has_value(), b.has_value());
    if (!a) continue;
    EXPECT_EQ(a->numbers, b->numbers);
    EXPECT_EQ(a->known, b->known);
    EXPECT_EQ(a->actions, b->actions);
  }
}

TEST(ClipPlan, KnowsTheActionIntoItsFirstFrameWhereTheFrameBeforeIsInTheSpan) {
  Random random(4);
  const Dataset dataset = one_file(four_fields(), steady_index(40, 35), random_rows(40, random));
  const auto known = [&](const Span& span, int64_t first, const Rational& fps) {
    return int{plan_clip(dataset, span, first, 4, fps)->known[0]};
  };
  EXPECT_EQ(known({0, 0, 40}, 0, 35), 0);
  EXPECT_EQ(known({0, 0, 40}, 1, 35), 1);
  EXPECT_EQ(known({0, 10, 40}, 10, 35), 0) << "the frame before belongs to another span";
  EXPECT_EQ(known({0, 10, 40}, 11, 35), 1);
  EXPECT_EQ(known({0, 10, 40}, 11, Rational(35, 2)), 0) << "two frames back is outside";
  EXPECT_EQ(known({0, 10, 40}, 12, Rational(35, 2)), 1);
  const auto plan = plan_clip(dataset, {0, 10, 40}, 12, 4, Rational(35, 2));
  const ActionTable& rows = dataset.files()[0].actions;
  EXPECT_EQ(turn_of(*plan, 0), rows.row(10)[kTurn] + rows.row(11)[kTurn]);
  EXPECT_EQ(turn_of(*plan, 1), rows.row(12)[kTurn] + rows.row(13)[kTurn]);
}

TEST(ClipPlan, LeavesARepeatOfTheSpansFirstFrameUnknown) {
  Random random(5);
  const Dataset dataset = one_file(four_fields(), steady_index(40, 35), random_rows(40, random));
  const auto plan = plan_clip(dataset, {0, 10, 40}, 10, 4, 70);
  EXPECT_THAT(plan->numbers, ElementsAre(10, 10, 11, 11));
  EXPECT_THAT(plan->known, ElementsAre(0, 0, 1, 1));
}

TEST(ClipPlan, OfUnlabelledVideoKnowsNoAction) {
  const Dataset dataset = one_file(four_fields(), steady_index(40, 35));
  const auto plan = plan_clip(dataset, whole(dataset), 5, 3, 35);
  EXPECT_THAT(plan->known, ElementsAre(0, 0, 0));
  EXPECT_EQ(plan->actions, std::vector<float>(12, 0.0F));
  const Dataset without_fields = one_file({}, steady_index(40, 35));
  EXPECT_TRUE(plan_clip(without_fields, whole(without_fields), 5, 3, 35)->actions.empty());
}

TEST(ClipSpace, NumbersEveryClipThatFits) {
  Random random(6);
  Dataset dataset("hand-made", {},
                  {testing::made_file("a", uneven_index(50, random)),
                   testing::made_file("b", steady_index(30, 35)),
                   testing::made_file("c", steady_index(3, 35))});
  const std::vector<Span> spans = {{0, 5, 45}, {1, 0, 30}, {2, 0, 3}, {0, 45, 50}, {1, 0, 17}};
  const Rational fps(20);
  const ClipSpace clips(dataset, spans, 6, fps);
  int64_t number = 0;
  for (const Span& span : spans) {
    for (int64_t first = 0; first < 50; ++first) {
      const auto plan = plan_clip(dataset, span, first, 6, fps);
      if (!plan) continue;
      ASSERT_LT(number, clips.size());
      const ClipPlan numbered = clips.plan(number++);
      EXPECT_EQ(numbered.file, span.file);
      EXPECT_EQ(numbered.numbers, plan->numbers);
    }
  }
  EXPECT_EQ(number, clips.size());
  EXPECT_GT(number, 40);
  EXPECT_THROW(clips.plan(number), std::out_of_range);
  EXPECT_THROW(clips.plan(-1), std::out_of_range);
}

TEST(ClipSpace, SaysWhyNothingFits) {
  const Dataset dataset = one_file({}, steady_index(70, 35));
  const ClipSpace clips(dataset, {whole(dataset)}, 16, 4);
  EXPECT_EQ(clips.size(), 0);
  EXPECT_THAT(clips.describe_lengths(),
              HasSubstr("a clip of 16 frames at 4 frames a second lasts 4.00 s"));
  EXPECT_THAT(clips.describe_lengths(), HasSubstr("spans 2.00 s"));
}

}  // namespace
}  // namespace praxino
