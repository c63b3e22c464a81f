#include "praxino/eval/evaluate.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "eval/per_clip.h"
#include "eval/tiny_clips.h"
#include "praxino/base/error.h"
#include "praxino/eval/interval.h"
#include "praxino/eval/metrics.h"
#include "rollout/tiny_world.h"

namespace praxino {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAreArray;
using testing_world::keys;
using testing_world::tiny_clips;
using testing_world::tiny_config;
using testing_world::tiny_fields;
using testing_world::tiny_world;

const std::vector<std::string> kAlways = {"loss",
                                          "psnr",
                                          "psnr@1",
                                          "psnr@2",
                                          "psnr@4",
                                          "psnr@5",
                                          "psnr_copy@1",
                                          "psnr_per_frame@1",
                                          "psnr_copy",
                                          "ssim",
                                          "ssim@4",
                                          "psnr_tokenizer",
                                          "psnr_gain_over_copy@1",
                                          "psnr_gain_over_copy"};
const std::vector<std::string> kOfActions = {"delta_psnr@1", "delta_psnr", "action_shuffle_ratio",
                                             "no_action_gap"};

TEST(Evaluate, ReportsEveryMetricWithItsInterval) {
  const EvalReport report = evaluate(tiny_world(), tiny_clips());
  std::vector<std::string> names = kAlways;
  names.insert(names.end(), kOfActions.begin(), kOfActions.end());
  for (const std::string& name : names) {
    const std::string full = "eval/" + name;
    ASSERT_TRUE(report.metrics.contains(full)) << full;
    EXPECT_LE(report.metrics.at(full + "/low"), report.metrics.at(full)) << full;
    EXPECT_GE(report.metrics.at(full + "/high"), report.metrics.at(full)) << full;
  }
  EXPECT_EQ(report.metrics.at("eval/n"), 3);
  EXPECT_FALSE(report.metrics.contains("eval/psnr@3"));
}

TEST(MetricNames, AreThoseThatAreReported) {
  const World world = tiny_world();
  EXPECT_THAT(metric_names(world.config, true),
              UnorderedElementsAreArray(keys(evaluate(world, tiny_clips()).metrics)));
  EXPECT_THAT(metric_names(world.config, false),
              UnorderedElementsAreArray(keys(evaluate(world, tiny_clips(1)).metrics)));
}

double pooled_psnr(const at::Tensor& a, const at::Tensor& b) {
  return eval::psnr_of_error(eval::mean_squared_error(a, b).mean().item<double>());
}

TEST(Evaluate, ComparesWithWhatDoesNotDependOnTheModel) {
  const Clips clips = tiny_clips();
  const EvalReport report = evaluate(tiny_world(), clips);
  const auto& m = report.metrics;
  const at::Tensor last_given = clips.frames.select(1, 1), next = clips.frames.select(1, 2);
  EXPECT_NEAR(m.at("eval/psnr_copy@1"), pooled_psnr(last_given, next), 1e-9);
  EXPECT_NEAR(m.at("eval/psnr_per_frame_copy@1"),
              eval::psnr(last_given, next).mean().item<double>(), 1e-9);
  EXPECT_EQ(
      m.at("eval/psnr_copy"),
      evaluate(build_world(tiny_config(), tiny_fields()), clips).metrics.at("eval/psnr_copy"));
  EXPECT_NEAR(m.at("eval/psnr_gain_over_copy@2"), m.at("eval/psnr@2") - m.at("eval/psnr_copy@2"),
              1e-9);
  EXPECT_EQ(m.at("eval/psnr_tokenizer"), eval::kPsnrOfEqualFrames) << "patches are exact";
}

TEST(Evaluate, ShowsTheGivenFramesAndThenTheDream) {
  const Clips clips = tiny_clips();
  const EvalReport report = evaluate(tiny_world(), clips);
  ASSERT_EQ(report.dream.sizes(), clips.frames.sizes());
  EXPECT_TRUE(report.dream.narrow(1, 0, 2).equal(clips.frames.narrow(1, 0, 2)));
  EXPECT_NEAR(report.metrics.at("eval/psnr@1"),
              pooled_psnr(report.dream.select(1, 2), clips.frames.select(1, 2)), 1e-9);
}

TEST(Evaluate, SeesNoUseOfActionsInAModelThatIgnoresThem) {
  const EvalReport report = evaluate(build_world(tiny_config(), tiny_fields()), tiny_clips());
  EXPECT_EQ(report.metrics.at("eval/action_shuffle_ratio"), 1);
  EXPECT_EQ(report.metrics.at("eval/no_action_gap"), 0);
  EXPECT_EQ(report.metrics.at("eval/delta_psnr"), 0);
}

TEST(Evaluate, SeesThatActionsMatterInAModelThatFollowsThem) {
  const EvalReport report = evaluate(tiny_world(), tiny_clips());
  EXPECT_NE(report.metrics.at("eval/action_shuffle_ratio"), 1);
  EXPECT_NE(report.metrics.at("eval/no_action_gap"), 0);
  EXPECT_NE(report.metrics.at("eval/delta_psnr"), 0);
}

TEST(Evaluate, LeavesOutActionsThatAreUnknownOrCannotBeShuffled) {
  Clips unknown = tiny_clips();
  unknown.known = at::zeros_like(unknown.known);
  Clips unlabelled = tiny_clips();
  unlabelled.actions = unlabelled.actions.narrow(2, 0, 0);
  for (const EvalReport& report :
       {evaluate(tiny_world(), unknown), evaluate(tiny_world({}), unlabelled),
        evaluate(tiny_world(), tiny_clips(1))}) {
    for (const std::string& name : kOfActions)
      EXPECT_FALSE(report.metrics.contains("eval/" + name)) << name;
    EXPECT_TRUE(report.metrics.contains("eval/psnr@1"));
  }
}

TEST(Evaluate, JudgesActionsByTheClipsThatHaveThem) {
  // Clips 1 and 3 have no actions: what is said of actions is what 0, 2 and 4 say.
  Clips mixed = tiny_clips(5);
  mixed.known[1].fill_(false);
  mixed.known[3].fill_(false);
  const World world = tiny_world();
  EXPECT_THAT(judged_clips(world, mixed), ElementsAre(0, 2, 4));
  const PerClip losses = measure_losses(world, mixed);
  const RolloutFigures figures = measure_rollouts(world, mixed);
  for (const size_t judged : {0U, 2U, 4U}) {
    EXPECT_NE(losses.at("shuffled")[judged], losses.at("loss")[judged]) << judged;
    EXPECT_NE(losses.at("hidden")[judged], losses.at("loss")[judged]) << judged;
    EXPECT_NE(figures.other.at("psnr_random_actions")[judged], figures.errors.at("psnr")[judged]);
  }
  // The other two would change all of these.
  Clips three = tiny_clips(5);
  const at::Tensor rows = at::tensor({0, 2, 4});
  for (at::Tensor* part : {&three.frames, &three.actions, &three.known})
    *part = part->index_select(0, rows);
  three.names.resize(3);
  const auto five = evaluate(world, mixed).metrics;
  EXPECT_EQ(five.at("eval/action_shuffle_ratio"),
            eval::ratio_interval(picked(losses.at("shuffled"), {0, 2, 4}),
                                 picked(losses.at("loss"), {0, 2, 4}))
                .mean);
  EXPECT_NE(five.at("eval/loss"), evaluate(world, three).metrics.at("eval/loss"));
}

TEST(Evaluate, DoesNotDependOnTheBatchItIsMeasuredIn) {
  World world = tiny_world();
  const EvalReport two = evaluate(world, tiny_clips());
  world.config.eval.batch = 8;
  const EvalReport eight = evaluate(world, tiny_clips());
  for (const auto& [name, value] : two.metrics)
    EXPECT_NEAR(value, eight.metrics.at(name), 0.02) << name;
  EXPECT_EQ(evaluate(world, tiny_clips()).metrics, eight.metrics);
}

TEST(Evaluate, RefusesClipsOfAnotherLengthAndBrokenWeights) {
  World world = tiny_world();
  EXPECT_THROW(evaluate(world, tiny_clips(3, 6)), Error);
  {
    const at::NoGradGuard no_grad;
    at::Tensor value = world.model->parameters().all().back().value;
    value.fill_(std::numeric_limits<float>::infinity());
  }
  EXPECT_THROW(evaluate(world, tiny_clips()), Error);
}

TEST(BorrowedFrom, IsOneCycleThroughAllClips) {
  for (const int64_t count : {2, 3, 16, 57}) {
    std::vector<int64_t> all(static_cast<size_t>(count));
    std::iota(all.begin(), all.end(), 0);
    const std::vector<int64_t> lender = borrowed_from(count, all, 9);
    int64_t at = 0;
    for (int64_t steps = 1; steps <= count; ++steps) {
      at = lender[static_cast<size_t>(at)];
      EXPECT_EQ(at == 0, steps == count) << count;
    }
  }
}

TEST(BorrowedFrom, LeavesTheOthersTheirOwn) {
  EXPECT_THAT(borrowed_from(4, {1, 3}, 9), ElementsAre(0, 3, 2, 1));
  EXPECT_THAT(borrowed_from(2, {}, 9), ElementsAre(0, 1));
}

TEST(MeasuredHorizons, AreThePowersOfTwoAndTheHorizon) {
  EXPECT_THAT(measured_horizons(1), ElementsAre(1));
  EXPECT_THAT(measured_horizons(8), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(measured_horizons(12), ElementsAre(1, 2, 4, 8, 12));
}

TEST(Report, IsReadBackAsJson) {
  const EvalReport report = evaluate(tiny_world(), tiny_clips());
  const auto json = nlohmann::json::parse(report_json(report, 400));
  EXPECT_EQ(json.at("step"), 400);
  EXPECT_EQ((json.at("metrics").get<std::map<std::string, double>>()), report.metrics);
}

TEST(Report, PrintsOneLineAHorizonWithBaselinesBesideIt) {
  EvalReport report;
  report.settings = {"how it was measured"};
  const auto put = [&](const std::string& name, double value) {
    report.metrics["eval/" + name] = value;
    report.metrics["eval/" + name + "/low"] = value - 1;
    report.metrics["eval/" + name + "/high"] = value + 1;
  };
  for (const std::string metric : {"psnr", "psnr_copy"}) {
    for (const std::string at : {"", "@1", "@2", "@12"})
      put(metric + at, metric == "psnr" ? 21 : 19);
  }
  put("loss", 0.5);
  report.metrics["eval/n"] = 16;
  EXPECT_EQ(report_table(report, 400),
            "evaluation at step 400, n = 16\n"
            "\n"
            "  frames ahead  psnr                  copy\n"
            "  1             21.00 [20.00, 22.00]  19.00 [18.00, 20.00]\n"
            "  2             21.00 [20.00, 22.00]  19.00 [18.00, 20.00]\n"
            "  12            21.00 [20.00, 22.00]  19.00 [18.00, 20.00]\n"
            "  mean          21.00 [20.00, 22.00]  19.00 [18.00, 20.00]\n"
            "\n"
            "  loss  0.50000 [-0.50000, 1.50000]\n"
            "\n"
            "  how it was measured\n");
}

TEST(Report, GivesPicturesForAContactSheet) {
  const World world = tiny_world();
  const Clips clips = tiny_clips();
  const EvalReport report = evaluate(world, clips);
  const std::vector<RolloutPictures> pictures = report_pictures(world, clips, report, 2);
  ASSERT_EQ(pictures.size(), 2);
  EXPECT_EQ(pictures[1].title, "clip 1");
  EXPECT_TRUE(pictures[1].dream.equal(report.dream[1]));
  EXPECT_EQ(report_pictures(world, clips, report, 99).size(), 3);
}

}  // namespace
}  // namespace praxino
