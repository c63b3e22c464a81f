// Training on several ranks (threads of this process, over Gloo) against one process with the same
// global batches.
#include "train/sharded_model.h"

#include <gtest/gtest.h>

#include <mutex>

#include "praxino/rollout/world.h"
#include "support/temporary_folder.h"
#include "train/rank_trainings.h"
#include "train/small_training.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using testing::expect_close;
using testing::expect_same;
using testing::first_moments;
using testing::float_run;
using testing::Outcome;
using testing::small_run;
using testing::train;

TEST(ShardedModel, LearnsWhatOneProcessLearns) {
  const testing::TemporaryFolder folder;
  const Outcome one = train(float_run(folder.path(), "one"), 1, 50);
  for (const int64_t ranks : {2, 4}) {
    const Outcome several =
        train(float_run(folder.path(), "several-" + std::to_string(ranks)), ranks, 50);
    expect_close(several.losses, one.losses, 1e-4);
    EXPECT_LE(std::abs(several.norms[0] - one.norms[0]) / one.norms[0], 1e-6);
    // The files of a checkpoint are those of one process: same names, same shapes.
    for (const auto& [name, tensors] : one.state.files) {
      const NamedTensors& got = several.state.files.at(name);
      ASSERT_EQ(got.size(), tensors.size()) << name;
      for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_EQ(got[i].first, tensors[i].first);
        EXPECT_EQ(got[i].second.sizes(), tensors[i].second.sizes());
      }
    }
  }
}

TEST(ShardedModel, LearnsWithMuonWhatOneProcessLearns) {
  const testing::TemporaryFolder folder;
  const Outcome one = train(small_run(folder.path(), "one"), 1, 20);
  const Outcome two = train(small_run(folder.path(), "two"), 2, 20);
  expect_close(two.losses, one.losses, 1e-2);
}

// From one checkpoint, at which every parameter has a gradient (at the start most are zero behind
// the silent head), one step on 1, 2 and 4 ranks: what the moments gained is the gradient.
TEST(ShardedModel, GradientsOfAStepAreThoseOfOneProcess) {
  const testing::TemporaryFolder folder;
  RunConfig config = small_run(folder.path(), "step");
  config.optim.kind = "adamw";
  config.optim.lr = 1e-3;
  config.optim.clip = 0;
  const at::Tensor before = first_moments(train(config, 1, 6).state);
  at::Tensor want;
  for (const int64_t ranks : {1, 2, 4}) {
    RunConfig own = config;
    own.run.output = (folder.path() / ("runs-" + std::to_string(ranks))).string();
    fs::copy(config.run.output, own.run.output, fs::copy_options::recursive);
    const at::Tensor after = first_moments(train(own, ranks, 7).state);
    const at::Tensor gradient = (after - before * config.optim.betas[0]);
    if (ranks == 1) want = gradient;
    EXPECT_LE((gradient - want).norm().item<double>(), 1e-6 * want.norm().item<double>())
        << ranks << " ranks";
  }
}

TEST(ShardedModel, WithAccumulationCheckpointingAndSmallBuckets) {
  const testing::TemporaryFolder folder;
  const auto configured = [&](const std::string& name) {
    RunConfig config = small_run(folder.path(), name);
    config.optim.gradient_accumulation = 2;
    config.model.activation_checkpointing = true;
    config.optim.kind = "adamw";
    config.optim.lr = 1e-3;
    return config;
  };
  const Outcome one = train(configured("one"), 1, 12);
  const Outcome two = train(configured("two"), 2, 12);
  expect_close(two.losses, one.losses, 1e-4);
  expect_close(two.norms, one.norms, 1e-3);
}

TEST(ShardedModel, TwiceOnTwoRanksGivesTheSameBits) {
  const testing::TemporaryFolder folder;
  const Outcome first = train(small_run(folder.path(), "first"), 2, 10);
  const Outcome second = train(small_run(folder.path(), "second"), 2, 10);
  EXPECT_EQ(first.losses, second.losses);
  for (const auto& [name, tensors] : first.state.files) {
    expect_same(second.state.files.at(name), tensors);
  }
}

TEST(ShardedModel, GoesOnAtTheNextSampleWithAnyNumberOfRanks) {
  const testing::TemporaryFolder folder;
  const Outcome straight = train(float_run(folder.path(), "straight"), 1, 12);
  const RunConfig cut = float_run(folder.path(), "cut");
  train(cut, 4, 3);
  train(cut, 2, 6);
  train(cut, 1, 9);
  const Outcome last = train(cut, 4, 12);
  expect_close(last.losses, straight.losses, 1e-4);
  EXPECT_EQ(last.losses.size(), 12U);
}

TEST(ShardedModel, ABadStepIsSkippedByAllRanksAlike) {
  const testing::TemporaryFolder folder;
  testing::expect_equal_skips(float_run(folder.path(), "bad"));
}

TEST(ShardedModel, ARankKeepsItsShareOfTheState) {
  RunConfig config;
  config.data.size = {64, 64};
  config.model.width = 96;
  config.model.depth = 4;
  const World world = build_world(config, {});
  int64_t all = 0;
  for (const at::Tensor& value : world.model->parameters().values()) all += value.nbytes();
  std::mutex mutex;
  int64_t most = 0, sum = 0;
  run_as_threads({.data = 4}, [&](Mesh& mesh) {
    const World own = build_world(config, {});
    const Ranks ranks({&mesh, [](const Mesh*) {}});
    const ShardedModel sharded(*own.model, config.parallel, ranks);
    const auto optimizer = make_optimizer(config.optim, sharded.own(), sharded.optimizer_ranks());
    const Ema ema(config.optim.ema, sharded.own());
    int64_t masters = 0, state = 0;
    for (const at::Tensor& value : sharded.own().values()) masters += value.nbytes();
    for (const auto& [name, tensor] : optimizer->state()) state += tensor.nbytes();
    for (const auto& [name, tensor] : ema.averages()) state += tensor.nbytes();
    const std::lock_guard lock(mutex);
    most = std::max(most, masters + state);
    sum += masters + state;
  });
  // One process: masters, averages, one moment for Muon's matrices and two for the others.
  const auto optimizer = make_optimizer(config.optim, world.model->parameters());
  int64_t alone = 2 * all;
  for (const auto& [name, tensor] : optimizer->state()) alone += tensor.nbytes();
  EXPECT_EQ(sum, alone + 3 * 4);  // each rank counts its own steps
  EXPECT_LE(static_cast<double>(most), 0.27 * static_cast<double>(alone));
}

}  // namespace
}  // namespace praxino
