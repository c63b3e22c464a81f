// Training with parallel.shard_weights against one process with the same global batches, and what
// a rank holds in memory.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>

#include "praxino/rollout/world.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"
#include "train/allocation_log.h"
#include "train/rank_trainings.h"
#include "train/sharded_model.h"
#include "train/small_training.h"

namespace praxino {
namespace {

using testing::expect_close;
using testing::expect_same;
using testing::Outcome;
using testing::train;

RunConfig sharded(RunConfig config) {
  config.model.activation_checkpointing = true;
  config.parallel.shard_weights = true;
  return config;
}

RunConfig float_run(const testing::TemporaryFolder& folder, const std::string& name) {
  return sharded(testing::float_run(folder.path(), name));
}

TEST(ShardedWeights, LearnWhatOneProcessLearns) {
  const testing::TemporaryFolder folder;
  const Outcome one = train(testing::float_run(folder.path(), "one"), 1, 50);
  for (const int64_t ranks : {2, 4}) {
    const Outcome several = train(float_run(folder, "several-" + std::to_string(ranks)), ranks, 50);
    expect_close(several.losses, one.losses, 1e-4);
    EXPECT_LE(std::abs(several.norms[0] - one.norms[0]) / one.norms[0], 1e-6);
    for (const auto& [name, tensors] : one.state.files) {
      const NamedTensors& got = several.state.files.at(name);
      ASSERT_EQ(got.size(), tensors.size()) << name;
      for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].first, tensors[i].first);
    }
  }
}

TEST(ShardedWeights, LearnWithMuonWhatOneProcessLearns) {
  const testing::TemporaryFolder folder;
  const Outcome one = train(testing::small_run(folder.path(), "one"), 1, 20);
  const Outcome four = train(sharded(testing::small_run(folder.path(), "four")), 4, 20);
  expect_close(four.losses, one.losses, 1e-2);
}

TEST(ShardedWeights, LearnWhereMatricesTokensAndFramesAreSplitToo) {
  const testing::TemporaryFolder folder;
  const Outcome one = train(testing::float_run(folder.path(), "one"), 1, 20);
  for (const MeshShape& shape : {MeshShape{.data = 2, .tensor = 2}, {.data = 2, .context = 2}}) {
    const std::string name = shape.tensor > 1 ? "tensor" : "context";
    const Outcome several = train(float_run(folder, name), shape, 20);
    expect_close(several.losses, one.losses, 1e-4);
  }
}

TEST(ShardedWeights, LearnWithAccumulationAndBfloat16Gradients) {
  const testing::TemporaryFolder folder;
  const auto configured = [&](RunConfig config) {
    config.optim.gradient_accumulation = 2;
    config.model.depth = 3;
    return config;
  };
  const Outcome one = train(configured(testing::float_run(folder.path(), "one")), 1, 12);
  const Outcome two = train(configured(float_run(folder, "two")), 2, 12);
  expect_close(two.losses, one.losses, 1e-4);
  expect_close(two.norms, one.norms, 1e-3);
  RunConfig rounded = configured(float_run(folder, "rounded"));
  rounded.parallel.gradients = "bf16";
  const Outcome in_bf16 = train(rounded, 2, 12);
  expect_close(in_bf16.losses, one.losses, 1e-2);
  EXPECT_NE(in_bf16.norms, two.norms) << "they travelled in float32";
}

TEST(ShardedWeights, TwiceOnThreeUnevenBlocksGiveTheSameBits) {
  const testing::TemporaryFolder folder;
  const auto configured = [&](const std::string& name) {
    RunConfig config = sharded(testing::small_run(folder.path(), name));
    config.model.depth = 3;
    return config;
  };
  const Outcome first = train(configured("first"), 2, 8),
                second = train(configured("second"), 2, 8);
  EXPECT_EQ(first.losses, second.losses);
  for (const auto& [name, tensors] : first.state.files) {
    expect_same(second.state.files.at(name), tensors);
  }
}

// Checkpointing and sharding change nothing that a run depends on: it may go on without them.
TEST(ShardedWeights, GoOnWithAnyNumberOfRanksShardedOrNot) {
  const testing::TemporaryFolder folder;
  const Outcome straight = train(testing::float_run(folder.path(), "straight"), 1, 15);
  const RunConfig plain = testing::float_run(folder.path(), "cut");
  train(sharded(plain), 4, 3);
  train(plain, 2, 6);
  train(plain, 1, 9);
  train(sharded(plain), 2, 12);
  const Outcome last = train(sharded(plain), 4, 15);
  expect_close(last.losses, straight.losses, 1e-4);
  EXPECT_EQ(last.losses.size(), 15U);
}

TEST(ShardedWeights, ABadStepIsSkippedByAllRanksAlike) {
  const testing::TemporaryFolder folder;
  testing::expect_equal_skips(float_run(folder, "bad"));
}

TEST(ShardedWeights, StartFromTheWeightsOfAnotherRun) {
  const testing::TemporaryFolder folder;
  const RunConfig teacher = testing::float_run(folder.path(), "teacher");
  train(teacher, 1, 4);
  std::vector<double> losses;
  for (const bool shard : {false, true}) {
    RunConfig config = testing::float_run(folder.path(), shard ? "sharded" : "plain");
    if (shard) config = sharded(config);
    run_as_threads({.data = 2}, [&](Mesh& mesh) {
      Trainer trainer(
          config, {.from = teacher.run.output + "/teacher", .mesh = {&mesh, [](const Mesh*) {}}});
      const double norm = trainer.step().gradient_norm.item<double>();
      if (mesh.first()) losses.push_back(norm);
    });
  }
  EXPECT_NEAR(losses[0], losses[1], 1e-6 * losses[0]);
}

/// What a run begins with, as a checkpoint before its first step.
TrainState first_state(const RunConfig& config, const MeshShape& shape,
                       const std::filesystem::path& from = {}) {
  const auto run = [&](const std::shared_ptr<const Mesh>& mesh) {
    Trainer(config, {.from = from, .mesh = mesh}).save();
  };
  if (shape.ranks() == 1) {
    run(nullptr);
  } else {
    run_as_threads(shape, [&](Mesh& mesh) { run({&mesh, [](const Mesh*) {}}); });
  }
  const auto directory = std::filesystem::path(config.run.output) / config.run.name;
  return CheckpointStore(directory / "checkpoints").load(0);
}

const std::vector<std::pair<std::string, MeshShape>> kLayouts = {
    {"data-2", {.data = 2}},
    {"data-4", {.data = 4}},
    {"tensor-2", {.tensor = 2}},
    {"data-2-tensor-2", {.data = 2, .tensor = 2}},
    {"data-2-context-2", {.data = 2, .context = 2}}};

// Sharded or not: every number is the one that a single process draws.
TEST(ShardedWeights, BeginWithTheBitsOfOneProcess) {
  const testing::TemporaryFolder folder;
  const TrainState one = first_state(testing::float_run(folder.path(), "one"), {});
  for (const auto& [name, shape] : kLayouts) {
    for (const bool shard : {false, true}) {
      RunConfig config = testing::float_run(folder.path(), name + (shard ? "-sharded" : ""));
      if (shard) config = sharded(config);
      const TrainState several = first_state(config, shape);
      for (const char* file : {"model", "ema"}) {
        SCOPED_TRACE(config.run.name + ": " + file);
        NamedTensors want = one.files.at(file);
        std::ranges::sort(want, {}, &NamedTensors::value_type::first);
        expect_same(several.files.at(file), want);
      }
    }
  }
}

// From a model whose matrices have other numbers of rows, too, some of them split.
TEST(ShardedWeights, AreThoseOfOneProcessWhereTheyComeFromAnotherRun) {
  const testing::TemporaryFolder folder;
  const RunConfig teacher = float_run(folder, "teacher");
  train(teacher, MeshShape{.data = 2, .tensor = 2}, 4);
  const auto from = std::filesystem::path(teacher.run.output) / "teacher";
  const auto configured = [&](const std::string& name, bool same) {
    RunConfig config = testing::float_run(folder.path(), name);
    config.run.seed = 8;
    if (same) return config;
    config.model.registers += 2;
    config.model.depth += 1;
    config.model.mlp_ratio = 6;
    return config;
  };
  for (const bool same : {true, false}) {
    const std::string kind = same ? "same" : "other";
    const TrainState one = first_state(configured(kind, same), {}, from);
    if (same) {
      const NamedTensors trained = CheckpointStore(from / "checkpoints").load(4).files.at("ema");
      NamedTensors got = one.files.at("model");
      std::ranges::sort(got, {}, &NamedTensors::value_type::first);
      expect_same(got, trained);
    }
    for (const auto& [name, shape] : kLayouts) {
      for (const bool shard : {false, true}) {
        RunConfig config = configured(kind + "-" + name + (shard ? "-sharded" : ""), same);
        if (shard) config = sharded(config);
        SCOPED_TRACE(config.run.name);
        NamedTensors want = one.files.at("model");
        std::ranges::sort(want, {}, &NamedTensors::value_type::first);
        expect_same(first_state(config, shape, from).files.at("model"), want);
      }
    }
  }
}

TEST(ShardedWeights, OfADamagedRunAreRefusedByAllRanksBeforeAnythingIsWritten) {
  const testing::TemporaryFolder folder;
  const RunConfig teacher = testing::float_run(folder.path(), "teacher");
  train(teacher, 1, 1);
  const auto from = std::filesystem::path(teacher.run.output) / "teacher";
  const auto file = checkpoint_directory(from / "checkpoints", 1) / "ema.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 4);
  const RunConfig config = float_run(folder, "refused");
  std::mutex mutex;
  std::vector<std::string> errors;
  run_as_threads({.data = 2}, [&](Mesh& mesh) {
    const std::string text = testing::error_text([&] {
      const Trainer trainer(config, {.from = from, .mesh = {&mesh, [](const Mesh*) {}}});
    });
    const std::lock_guard lock(mutex);
    errors.push_back(text);
  });
  ASSERT_EQ(errors.size(), 2U);
  EXPECT_EQ(errors[0], errors[1]);
  EXPECT_THAT(errors[0], ::testing::HasSubstr("none of the 1 checkpoints is whole"));
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(config.run.output) / "refused"));
}

TEST(ShardedWeights, NeedCheckpointing) {
  const testing::TemporaryFolder folder;
  RunConfig config = testing::float_run(folder.path(), "refused");
  config.parallel.shard_weights = true;
  const std::string text = testing::error_text([&] { const Trainer trainer(config, {}); });
  EXPECT_THAT(text, ::testing::HasSubstr("needs model.activation_checkpointing: true"));
}

/// A model whose weights are much larger than its activations.
RunConfig wide_run(const testing::TemporaryFolder& folder, const std::string& name) {
  RunConfig config = testing::float_run(folder.path(), name);
  config.data.clip_frames = 2;
  config.model.width = 192;
  config.model.depth = 8;
  return config;
}

TEST(ShardedWeights, ARankHoldsItsShareAndTwoBlocks) {
  const testing::TemporaryFolder folder;
  const RunConfig config = sharded(wide_run(folder, "wide"));
  run_as_threads({.data = 4}, [&](Mesh& mesh) {
    const auto log = std::make_shared<AllocationLog>();
    const Listening listening(log);
    const World world = build_world(config, {});
    const Ranks ranks({&mesh, [](const Mesh*) {}});
    ShardedModel model(*world.model, config.parallel, ranks);
    int64_t all = 0, outside = 0, largest = 0;
    std::map<int64_t, int64_t> blocks;
    for (size_t i = 0; i < world.model->parameters().all().size(); ++i) {
      const auto bytes = static_cast<int64_t>(world.model->parameters().all()[i].value.nbytes());
      const int64_t block = world.model->block_of_parameters()[i];
      all += bytes;
      (block < 0 ? outside : blocks[block]) += bytes;
    }
    for (const auto& [block, bytes] : blocks) largest = std::max(largest, bytes);
    int64_t own = 0;
    for (const at::Tensor& value : model.own().values()) own += value.nbytes();
    EXPECT_LE(static_cast<double>(own), 0.27 * static_cast<double>(all));
    // Beside it: what is outside of the blocks, and two blocks; the tables of angles are small.
    const int64_t bound = own + outside + 2 * largest + 64 * 1024;
    EXPECT_LE(log->live().total(), bound);
    log->forget_peak();
    model.start_sharing_weights();
    model.settle();
    EXPECT_LE(log->peak().bytes.total(), bound);
    // In forward passes without gradients, as those of an evaluation, a block that runs and the
    // next one, beside the buffer for gradients that was there before.
    for (int64_t block = 0; block < std::ssize(blocks); ++block) {
      model.hooks_of(block).before(Pass::kForward);
      model.hooks_of(block).after(Pass::kForward);
    }
    EXPECT_LE(log->peak().bytes.total(), bound + largest);
    EXPECT_LT(bound + largest, own + all);
  });
}

int64_t bytes_of(const Parameters& parameters) {
  int64_t bytes = 0;
  for (const at::Tensor& value : parameters.values()) bytes += static_cast<int64_t>(value.nbytes());
  return bytes;
}

// Of the draws one whole tensor at a time is there, beside what stays: a rank's share, what is
// outside of the blocks, and the buffer for gradients.
TEST(ShardedWeights, AreDrawnWhereTheyAreKept) {
  const testing::TemporaryFolder folder;
  const RunConfig config = sharded(wide_run(folder, "wide"));
  const World whole = build_world(config, {});
  int64_t outside = 0, block = 0, largest = 0;
  for (size_t i = 0; i < whole.model->parameters().all().size(); ++i) {
    const auto bytes = static_cast<int64_t>(whole.model->parameters().all()[i].value.nbytes());
    const int64_t number = whole.model->block_of_parameters()[i];
    if (number < 0) outside += bytes;
    if (number == 0) block += bytes;
    largest = std::max(largest, bytes);
  }
  for (const MeshShape& shape : {MeshShape{.data = 4}, {.data = 4, .tensor = 2}}) {
    run_as_threads(shape, [&](Mesh& mesh) {
      testing::RankMemory memory;
      const Ranks ranks({&mesh, [](const Mesh*) {}});
      const World world = build_world(config, {}, {.ranks = ranks.model_ranks(), .drawn = false});
      const ShardedModel model(*world.model, config.parallel, ranks);
      world.model->draw_weights(model.own());
      const int64_t own = bytes_of(model.own());
      EXPECT_LE(memory.peak(), own + outside + block + 2 * largest + 64 * 1024);
      EXPECT_LT(2 * memory.peak(), bytes_of(whole.model->parameters()) * 5 / 4);
      for (const Parameter& p : model.own().all()) {
        const at::Tensor& want = whole.model->parameters().find(p.name)->value;
        EXPECT_TRUE(p.value.equal(p.slice ? p.slice->part_of(want) : want)) << p.name;
      }
    });
  }
}

// With an optimizer that keeps little, whole weights at the start would be the most there ever is.
TEST(ShardedWeights, AStartTakesNoMoreMemoryThanAStep) {
  const testing::TemporaryFolder folder;
  const auto configured = [&](const std::string& name) {
    RunConfig config = sharded(wide_run(folder, name));
    config.optim.kind = "muon";
    config.optim.ema = 0;
    return config;
  };
  const RunConfig config = configured("scratch");
  const int64_t whole = bytes_of(build_world(config, {}).model->parameters());
  const auto peaks = [&](const std::string& name, const RunConfig& run, const MeshShape& shape,
                         const std::filesystem::path& from = {}) {
    const testing::RankPeaks both = testing::peaks_of_a_rank(run, shape, from);
    EXPECT_LE(both.start, both.step) << name;
    for (const auto& [moment, bytes] : {std::pair("start", both.start), {"step", both.step}})
      RecordProperty(name + "_" + moment + "_of_whole",
                     std::to_string(static_cast<double>(bytes) / static_cast<double>(whole)));
    return both;
  };
  EXPECT_LT(peaks("scratch", config, {.data = 4}).start, whole);
  train(config, 4, 1);
  peaks("resumed", config, {.data = 4});  // what it reads lies in memory before it is copied
  const std::filesystem::path from = std::filesystem::path(config.run.output) / "scratch";
  EXPECT_LT(peaks("tuned", configured("tuned"), {.data = 4}, from).start, whole);
  const MeshShape both{.data = 2, .tensor = 2};
  EXPECT_LT(peaks("tensor", configured("tensor"), both).start, whole);
  EXPECT_LT(peaks("tensor-tuned", configured("tensor-tuned"), both, from).start, whole);
}

TEST(ShardedWeights, TakeMuchLessMemoryThanWholeOnes) {
  const testing::TemporaryFolder folder;
  RunConfig whole = wide_run(folder, "whole");
  whole.model.activation_checkpointing = true;
  const int64_t before = testing::peaks_of_a_rank(whole, {.data = 4}).step;
  const int64_t after =
      testing::peaks_of_a_rank(sharded(wide_run(folder, "sharded")), {.data = 4}).step;
  RecordProperty("whole", std::to_string(before));
  RecordProperty("sharded", std::to_string(after));
  EXPECT_LT(static_cast<double>(after), 0.5 * static_cast<double>(before));
}

}  // namespace
}  // namespace praxino
