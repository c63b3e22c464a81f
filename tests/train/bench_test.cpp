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

RunConfig small_run(const testing::TemporaryFolder& folder) {
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
  return config;
}

TEST(TrainBench, MeasuresStepsWithoutLeavingARun) {
  const testing::TemporaryFolder folder;
  const RunConfig config = small_run(folder);
  const TrainBench bench = measure_training(config, {.warm_up = 2, .steps = 5});
  EXPECT_FALSE(std::filesystem::exists(folder / "runs"));
  EXPECT_EQ(bench.steps, 5);
  EXPECT_GT(bench.low, 0);
  EXPECT_LE(bench.low, bench.median);
  EXPECT_LE(bench.median, bench.high);
  EXPECT_GT(bench.first_step(), bench.low);
  EXPECT_EQ(bench.start.parts().back().first, "first step");
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

// Two ranks as threads; they measure their steps, and each by itself.
TEST(TrainBench, TellsOfSeveralRanksWhatTheyWaitForEachOther) {
  const testing::TemporaryFolder folder;
  const RunConfig config = small_run(folder);
  std::vector<TrainBench> benches(2);
  run_as_threads({.data = 2}, [&](Mesh& mesh) {
    TrainBenchOptions options{.warm_up = 1, .steps = 5, .compare = true};
    options.launch.mesh = std::shared_ptr<const Mesh>(&mesh, [](const Mesh*) {});
    options.launch.local_ranks = 2;
    benches[static_cast<size_t>(mesh.rank())] = measure_training(config, options);
  });
  EXPECT_FALSE(std::filesystem::exists(folder / "runs"));
  const TrainBench& bench = benches[0];
  EXPECT_EQ(bench.ranks(), 2);
  EXPECT_EQ(bench.frames, 2 * 2 * 4);  // of both
  EXPECT_EQ(bench.flops, 3 * 2 * 2 * build_world(config, {}).model->forward_flops(4));
  ASSERT_EQ(bench.exposed.size(), 2U);
  EXPECT_EQ(bench.exposed[0].first, "world");
  EXPECT_EQ(bench.exposed[1].first, "data");
  EXPECT_GT(bench.exposed[1].second, 0);
  EXPECT_LT(bench.exposed_share(), 1);
  EXPECT_GE(bench.exposed_most, bench.exposed_share());
  EXPECT_EQ(bench.exposed, benches[1].exposed);
  EXPECT_EQ(bench.peak_flops, benches[1].peak_flops);
  ASSERT_TRUE(bench.comparison);
  EXPECT_EQ(bench.comparison->steps, 5);
  EXPECT_GT(bench.comparison->apart, 0);
  EXPECT_GT(bench.comparison->together, 0);
  EXPECT_EQ(bench.weak_scaling(), bench.comparison->alone / bench.comparison->together);
  const auto json = nlohmann::json::parse(to_json(bench));
  EXPECT_EQ(json.at("mesh").at("data"), 2);
  EXPECT_EQ(json.at("comparison").at("weak_scaling"), bench.weak_scaling());
  EXPECT_EQ(json.at("exposed"), bench.exposed_share());
  for (const char* word : {"mesh         data 2 x", "of the step waited for collectives: world",
                           "weak scaling", "measured in these processes at once"}) {
    EXPECT_THAT(to_text(bench), HasSubstr(word));
  }
}

TEST(TrainBench, CountsTheWorkOfAMeshOnce) {
  const testing::TemporaryFolder folder;
  const RunConfig config = small_run(folder);
  run_as_threads({.context = 2, .tensor = 2}, [&](Mesh& mesh) {
    TrainBenchOptions options{.warm_up = 1, .steps = 1, .launch = {}};
    options.launch.mesh = std::shared_ptr<const Mesh>(&mesh, [](const Mesh*) {});
    options.launch.local_ranks = 4;
    const TrainBench bench = measure_training(config, options);
    EXPECT_EQ(bench.frames, 2 * 2 * 4);
    EXPECT_EQ(bench.flops, 3 * 2 * 2 * build_world(config, {}).model->forward_flops(4));
    std::vector<std::string> groups;
    for (const auto& [name, share] : bench.exposed) groups.push_back(name);
    EXPECT_THAT(groups, ::testing::IsSupersetOf({"world", "context", "tensor"}));
  });
}

}  // namespace
}  // namespace praxino
