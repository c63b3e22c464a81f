#include "praxino/train/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "praxino/config/load.h"
#include "praxino/data/synthetic.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

/// Eight ranks' worth of clips; no data set.
RunConfig wide_run() {
  RunConfig config;
  config.run.precision = "bf16";
  config.parallel.data = 1;
  config.data.path = "/there/is/none";
  config.data.batch = 16;
  config.data.clip_frames = 8;
  config.model.width = 512;
  config.model.heads = 8;
  config.model.depth = 6;
  return config;
}

Plan plan_of(const RunConfig& config) {
  return make_plan(config, {.device = find_gpu("h100"), .ranks = 1});
}

double bytes_of(const Plan& plan, const std::string& name) {
  for (const NamedBytes& line : plan.memory) {
    if (line.name == name) return line.bytes;
  }
  ADD_FAILURE() << "no line " << name;
  return 0;
}

double sent(const Plan& plan, const std::string& axis) {
  double bytes = 0;
  for (const Traffic& line : plan.traffic) bytes += line.axis == axis ? line.bytes : 0;
  return bytes;
}

TEST(Plan, LinesAddUpToThePeak) {
  const Plan plan = plan_of(wide_run());
  double sum = 0;
  for (const NamedBytes& line : plan.memory) sum += line.bytes;
  EXPECT_DOUBLE_EQ(sum, plan.peak_bytes);
  EXPECT_TRUE(plan.fits);
  EXPECT_TRUE(plan.traffic.empty());
  EXPECT_FALSE(plan.data.has_value());
}

TEST(Plan, DataRanksShareClipsMomentsAndAveragesButNotWeights) {
  RunConfig config = wide_run();
  const Plan one = plan_of(config);
  config.parallel.data = 4;
  const Plan four = plan_of(config);
  EXPECT_EQ(four.parameters, one.parameters);
  EXPECT_EQ(four.tokens_a_step, one.tokens_a_step);
  EXPECT_EQ(four.step_flops, one.step_flops);
  EXPECT_GE(bytes_of(four, "weights"), bytes_of(one, "weights"));
  EXPECT_LE(bytes_of(four, "weights"), 1.125 * bytes_of(one, "weights"));
  // Whole parameters: the first rank's share is about a quarter.
  EXPECT_NEAR(bytes_of(four, "moments") / bytes_of(one, "moments"), 0.25, 0.05);
  EXPECT_NEAR(bytes_of(four, "averages") / bytes_of(one, "averages"), 0.25, 0.05);
  // A ring of four sends three quarters of the gradients and of the weights, float32 both, with
  // what balances the buckets.
  const double data = 2 * 0.75 * 4 * static_cast<double>(one.parameters);
  EXPECT_GE(sent(four, "data"), data);
  EXPECT_LE(sent(four, "data"), 1.125 * data);
}

TEST(Plan, ShardedWeightsTakeLessMemoryAndSendMore) {
  RunConfig config = wide_run();
  config.parallel.data = 8;
  config.model.activation_checkpointing = true;
  config.model.depth = 12;
  const Plan whole = plan_of(config);
  config.parallel.shard_weights = true;
  const Plan sharded = plan_of(config);
  EXPECT_LT(bytes_of(sharded, "weights"), 0.45 * bytes_of(whole, "weights"));
  EXPECT_LT(sharded.peak_bytes, whole.peak_bytes);
  EXPECT_GT(sent(sharded, "data"), sent(whole, "data"));
  EXPECT_EQ(sharded.activations_toggled, whole.activations_toggled);
  config.model.activation_checkpointing = false;
  EXPECT_THAT(testing::error_text([&] { plan_of(config); }), HasSubstr("needs model.activation"));
}

TEST(Plan, TensorRanksShareMatricesAndActivations) {
  RunConfig config = wide_run();
  config.optim.kind = "adamw";
  const Plan one = plan_of(config);
  config.parallel.tensor = 2;
  const Plan two = plan_of(config);
  EXPECT_EQ(two.parameters, one.parameters);
  EXPECT_EQ(two.step_flops, one.step_flops);
  EXPECT_LT(two.parameters_a_rank, one.parameters);
  EXPECT_GT(two.parameters_a_rank, one.parameters / 2);
  EXPECT_LT(two.activations, 0.58 * one.activations);
  EXPECT_LT(bytes_of(two, "weights"), 0.8 * bytes_of(one, "weights"));
  // Both halves of a block gather and sum, and backward again, when their matrices gather once
  // more, or the checkpointed block has gathered and summed once more: half of the tokens in
  // bfloat16 each time. The predictions, 33 tokens a rank at most, are gathered in float32.
  const double tokens = 16 * 8 * (64 + 2) * 512 * 2, predictions = 16 * 8 * 2 * 33 * 192 * 4;
  EXPECT_DOUBLE_EQ(sent(two, "tensor"), 6 * 10 * tokens / 2 + predictions / 2);
  config.model.activation_checkpointing = true;
  EXPECT_DOUBLE_EQ(sent(plan_of(config), "tensor"), 6 * 12 * tokens / 2 + predictions / 2);
}

TEST(Plan, ContextRanksSwitchTheLayoutAroundTimeBlocks) {
  RunConfig config = wide_run();
  config.parallel.context = 2;
  const Plan plan = plan_of(config);
  const double own_tokens = 16.0 * 8 * (64 + 2) / 2 * 512 * 4;
  // Before both time blocks and behind the first, forward and backward: half of a rank's residuals.
  const double predictions = 16.0 * 8 * 2 * 33 * 192 * 4;
  EXPECT_DOUBLE_EQ(sent(plan, "context"), 2 * 3 * own_tokens / 2 + predictions / 2);
  const double gradients = 4 * static_cast<double>(plan.parameters);
  EXPECT_NEAR(sent(plan, "all") / gradients, 1, 0.125);
}

TEST(Plan, CheckpointingTradesActivationsForWork) {
  RunConfig config = wide_run();
  const Plan without = plan_of(config);
  config.model.activation_checkpointing = true;
  const Plan with = plan_of(config);
  EXPECT_LT(with.activations, 0.5 * without.activations);
  EXPECT_EQ(with.activations, without.activations_toggled);
  EXPECT_EQ(with.activations_toggled, without.activations);
  EXPECT_EQ(with.repeated_flops, with.forward_flops);
}

TEST(Plan, NamesSingleChangesThatMakeItFit) {
  RunConfig config = wide_run();
  config.data.batch = 768;
  config.data.clip_frames = 16;
  const Plan plan = plan_of(config);
  ASSERT_FALSE(plan.fits);
  EXPECT_THAT(plan.remedies, Contains(HasSubstr("model.activation_checkpointing=true")));
  config.model.activation_checkpointing = true;
  EXPECT_TRUE(plan_of(config).fits);
}

TEST(Plan, ReadsTheDataSet) {
  const testing::TemporaryFolder folder;
  make_dataset({.world = "pan", .episodes = 2, .frames = 30, .height = 32, .width = 32},
               folder / "data");
  RunConfig config = wide_run();
  config.data.path = (folder / "data").string();
  config.data.size = {32, 32};
  config.run.steps = 100;
  config.data.split.val = 0;
  const Plan plan = plan_of(config);
  ASSERT_TRUE(plan.data.has_value());
  EXPECT_EQ(plan.data->files, 2);
  EXPECT_EQ(plan.data->frames, 60);
  EXPECT_EQ(plan.data->training_clips, 2 * (30 - 8 + 1));
  EXPECT_DOUBLE_EQ(plan.data->passes, 100.0 * 16 / 46);
}

TEST(Plan, RefusesAMeshThatTrainingWouldRefuse) {
  RunConfig config = wide_run();
  config.parallel.data = 3;
  EXPECT_THAT(testing::error_text([&] { plan_of(config); }), HasSubstr("data.batch is 16"));
  config.parallel.data = 1;
  config.parallel.tensor = 9;
  EXPECT_THAT(testing::error_text([&] { plan_of(config); }), HasSubstr("8 heads"));
  EXPECT_THAT(testing::error_text([] { find_gpu("h1000"); }), HasSubstr("h200"));
}

TEST(Plan, LargeConfigurationsFitAndHoldTheirNames) {
  const std::string folder = std::string(PRAXINO_SOURCE_DIR) + "/configs/large/";
  struct Expected {
    std::string file;
    double billions;
    int64_t ranks;
  };
  for (const auto& [file, billions, ranks] :
       {Expected{"1b.yaml", 1, 8}, Expected{"7b.yaml", 7, 64}, Expected{"14b.yaml", 14, 128}}) {
    const Plan plan = plan_of(load_run(folder + file));
    const ParallelConfig& p = plan.config.parallel;
    EXPECT_EQ(p.data * p.tensor * p.context, ranks) << file;
    EXPECT_NEAR(static_cast<double>(plan.parameters) / 1e9, billions, 0.06 * billions) << file;
    EXPECT_TRUE(plan.fits) << to_text(plan);
    EXPECT_EQ(nlohmann::json::parse(to_json(plan)).at("parameters"), plan.parameters);
  }
}

}  // namespace
}  // namespace praxino
