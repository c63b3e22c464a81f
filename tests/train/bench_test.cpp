#include "praxino/train/bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "praxino/data/synthetic.h"
#include "praxino/rollout/world.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

using ::testing::HasSubstr;

TEST(TrainBench, MeasuresStepsWithoutLeavingARun) {
  const testing::TemporaryFolder folder;
  make_dataset({.world = "pan", .episodes = 1, .frames = 12, .height = 16, .width = 16},
               folder / "data");
  RunConfig config;
  config.run.output = (folder / "runs").string();
  config.run.device = "cpu";
  config.run.precision = "fp32";
  config.run.threads = 1;
  config.data.path = (folder / "data").string();
  config.data.clip_frames = 4;
  config.data.size = {16, 16};
  config.data.batch = 2;
  config.data.split.val = 0;
  config.model.width = 64;
  config.model.depth = 2;
  config.optim.gradient_accumulation = 2;
  const TrainBench bench = measure_training(config, {.warm_up = 2, .steps = 5});
  EXPECT_FALSE(std::filesystem::exists(folder / "runs"));
  EXPECT_EQ(bench.steps, 5);
  EXPECT_GT(bench.low, 0);
  EXPECT_LE(bench.low, bench.median);
  EXPECT_LE(bench.median, bench.high);
  EXPECT_GT(bench.first_step, bench.low);
  EXPECT_EQ(bench.frames, 2 * 2 * 4);
  EXPECT_EQ(bench.tokens, 2 * 2 * 4 * (4 + 2));
  const World world = build_world(config, {});
  EXPECT_EQ(bench.flops, 3 * 2 * 2 * world.model->forward_flops(4));
  EXPECT_GT(bench.mfu(), 0);
  EXPECT_LT(bench.mfu(), 1);
  EXPECT_GE(bench.loader_wait, 0);
  EXPECT_LE(bench.loader_wait, 1);
  EXPECT_GT(bench.peak_bytes, 1e6);
  EXPECT_EQ(nlohmann::json::parse(to_json(bench)).at("step_flops"), bench.flops);
  EXPECT_THAT(to_text(bench), HasSubstr("MFU"));
}

}  // namespace
}  // namespace praxino
