#include "praxino/train/trainer.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "praxino/data/synthetic.h"
#include "praxino/train/expect.h"
#include "support/run_log_lines.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

/// A data set that holds exactly one clip of six frames, and a model that can learn it by heart.
RunConfig one_clip(const std::filesystem::path& folder) {
  make_dataset({.world = "pan", .episodes = 1, .frames = 6, .height = 16, .width = 16},
               folder / "data");
  RunConfig config;
  config.run.name = "one";
  config.run.output = (folder / "runs").string();
  config.run.steps = 60;
  config.run.threads = 1;
  config.run.precision = "fp32";
  config.data.path = (folder / "data").string();
  config.data.clip_frames = 6;
  config.data.size = {16, 16};
  config.data.batch = 4;
  config.data.split.val = 0;
  config.model.width = 64;
  config.model.depth = 2;
  config.model.heads = 2;
  config.model.attention = "frame_causal";
  config.optim.warmup = 5;
  config.optim.lr = 0.02;
  return config;
}

std::vector<double> losses(const std::filesystem::path& run_directory) {
  std::vector<double> result;
  for (const auto& [step, loss] : testing::losses(run_directory)) result.push_back(loss);
  return result;
}

TEST(Trainer, LearnsOneClipByHeart) {
  const testing::TemporaryFolder folder;
  Trainer trainer(one_clip(folder.path()), {});
  EXPECT_EQ(trainer.run(), 0);
  EXPECT_EQ(trainer.steps_done(), 60);
  const std::vector<double> curve = losses(trainer.directory());
  ASSERT_EQ(curve.size(), 60U);
  double late = 0;
  for (size_t i = 50; i < 60; ++i) late += curve[i] / 10;
  EXPECT_LT(late, 0.25 * curve[0]) << "first loss " << curve[0];
}

TEST(Trainer, LogsTheMetricsThatExpectationsMayName) {
  const testing::TemporaryFolder folder;
  RunConfig config = one_clip(folder.path());
  config.run.steps = 1;
  Trainer trainer(config, {});
  trainer.run();
  std::vector<std::string> names;
  const nlohmann::json line = testing::read_log(trainer.directory()).at(0);
  for (const auto& [name, value] : line.items()) names.push_back(name);
  std::vector<std::string> known = step_metric_names();
  known.insert(known.end(), {"step", "time"});
  EXPECT_THAT(names, ::testing::UnorderedElementsAreArray(known));
}

TEST(Trainer, AccumulatesGradientsOverMicroBatches) {
  const testing::TemporaryFolder folder;
  RunConfig whole = one_clip(folder.path());
  whole.run.steps = 3;
  RunConfig parts = whole;
  parts.run.name = "parts";
  parts.data.batch = 2;
  parts.optim.gradient_accumulation = 2;
  const auto curve = [](const RunConfig& config) {
    Trainer trainer(config, {});
    trainer.run();
    return losses(trainer.directory());
  };
  const std::vector<double> a = curve(whole), b = curve(parts);
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(a[i], b[i], 1e-3 * a[i]) << "step " << i;
}

TEST(Trainer, GoesOnWhereItStopped) {
  const testing::TemporaryFolder folder;
  RunConfig config = one_clip(folder.path());
  config.run.steps = 4;
  config.checkpoint.every = 2;
  EXPECT_EQ(Trainer(config, {}).run(), 0);
  const Trainer again(config, {});
  EXPECT_EQ(again.steps_done(), 4);
}

}  // namespace
}  // namespace praxino
