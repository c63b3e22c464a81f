#include "praxino/rollout/world.h"

#include <ATen/Context.h>
#include <gmock/gmock.h>

#include <fstream>

#include "praxino/base/error.h"
#include "praxino/checkpoint/store.h"
#include "praxino/config/load.h"
#include "rollout/tiny_world.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_world::tiny_config;
using testing_world::tiny_fields;
using testing_world::tiny_world;

std::string message(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

NamedTensors weights_of(const World& world, double scale) {
  NamedTensors weights;
  for (const Parameter& parameter : world.model->parameters().all()) {
    weights.emplace_back(parameter.name, parameter.value.detach() * scale);
  }
  return weights;
}

/// A run directory of its own, removed at the end.
class RunDirectory : public testing::Test {
 protected:
  RunDirectory()
      : folder_(fs::path(testing::TempDir()) / "praxino_world_test" /
                testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(folder_);
  }
  ~RunDirectory() override { fs::remove_all(folder_); }

  /// Weights times `scale`, averaged ones times ten of that.
  void save(int64_t step, double scale, bool ema = true, const RunConfig& config = tiny_config()) {
    DatasetConfig dataset;
    dataset.actions = tiny_fields();
    TrainState state;
    state.step = step;
    state.files["model"] = weights_of(world_, scale);
    if (ema) state.files["ema"] = weights_of(world_, 10 * scale);
    state.state_json = fmt::format("{{\"step\": {}}}", step);
    state.texts["config.yaml"] = to_yaml(config);
    state.texts["dataset.yaml"] = to_yaml(dataset);
    CheckpointStore(folder_ / "checkpoints").save(state);
  }

  /// By how much the loaded weights are scaled.
  double scale_of(const LoadOptions& options) const {
    const World loaded = load_world(folder_, options);
    const at::Tensor original = world_.model->parameters().all().front().value;
    const at::Tensor value = loaded.model->parameters().all().front().value;
    return (value.sum() / original.sum()).item<double>();
  }

  fs::path checkpoint(int64_t step) const {
    return folder_ / "checkpoints" / fmt::format("step-{:08}", step);
  }

  fs::path folder_;
  World world_ = tiny_world();
};

TEST(ParseDevice, KnowsTheCpuAndNamesWhatIsFoundInstead) {
  EXPECT_TRUE(parse_device("cpu").is_cpu());
  EXPECT_THAT(message([] { parse_device("gpu"); }), HasSubstr("not one of auto, cpu, cuda"));
  EXPECT_THAT(message([] { parse_device("cuda:x"); }), HasSubstr("'cuda:x'"));
  EXPECT_THAT(message([] { parse_device("cuda:"); }), HasSubstr("'cuda:'"));
  EXPECT_THAT(message([] { parse_device("cuda:63"); }),
              AllOf(HasSubstr("does not exist"), HasSubstr("this machine")));
}

TEST(UseBf16, FollowsAnExplicitPrecision) {
  EXPECT_TRUE(use_bf16("bf16", at::kCPU));
  EXPECT_FALSE(use_bf16("fp32", at::Device(at::kCUDA, 0)));
  EXPECT_TRUE(use_bf16("auto", at::Device(at::kCUDA, 0)));
}

TEST(BuildWorld, PutsTheConfiguredPartsTogether) {
  const World world = build_world(tiny_config(), tiny_fields());
  EXPECT_EQ(world.tokenizer->grid(), world.model->grid());
  EXPECT_EQ(world.model->grid().count(), 4);
  EXPECT_EQ(world.fields.size(), 2);
  EXPECT_EQ(world.step, 0);
}

TEST(BuildWorld, HasAGpuSumBf16ProductsInFp32) {
  at::globalContext().setAllowBF16ReductionCuBLAS(true);
  build_world(tiny_config(), tiny_fields());
  EXPECT_EQ(at::globalContext().allowBF16ReductionCuBLAS(),
            at::CuBLASReductionOption::DisallowReducedPrecisionAllowSplitK);
}

TEST_F(RunDirectory, LoadsTheNewestAveragedWeights) {
  save(100, 1);
  save(200, 2);
  const World loaded = load_world(folder_, {.device = "cpu"});
  EXPECT_EQ(loaded.step, 200);
  EXPECT_TRUE(loaded.averaged);
  EXPECT_EQ(loaded.fields, tiny_fields());
  EXPECT_NEAR(scale_of({.device = "cpu"}), 20, 1e-3);
}

TEST_F(RunDirectory, LoadsTheStepAndTheWeightsThatAreAskedFor) {
  save(100, 1);
  save(200, 2);
  EXPECT_NEAR(scale_of({.step = 100, .ema = false, .device = "cpu"}), 1, 1e-3);
  EXPECT_NEAR(scale_of({.step = 200, .ema = false, .device = "cpu"}), 2, 1e-3);
  EXPECT_THAT(message([&] { load_world(folder_, {.step = 300, .device = "cpu"}); }),
              HasSubstr("there are 200, 100"));
}

TEST_F(RunDirectory, TakesPlainWeightsWhereNoneAreAveraged) {
  save(100, 3, /*ema=*/false);
  EXPECT_NEAR(scale_of({.device = "cpu"}), 3, 1e-3);
}

TEST_F(RunDirectory, FallsBackToAWholeCheckpointUnlessAStepIsAskedFor) {
  save(100, 1);
  save(200, 2);
  std::ofstream(checkpoint(200) / "ema.safetensors", std::ios::app) << "x";
  EXPECT_EQ(load_world(folder_, {.device = "cpu"}).step, 100);
  EXPECT_THAT(message([&] { load_world(folder_, {.step = 200, .device = "cpu"}); }),
              HasSubstr("ema.safetensors"));
}

TEST_F(RunDirectory, LeavesTheWritersUnfinishedFilesAlone) {
  save(100, 1);
  const fs::path unfinished = folder_ / "checkpoints" / ".tmp-step-00000200";
  fs::create_directories(unfinished);
  load_world(folder_, {.device = "cpu"});
  EXPECT_TRUE(fs::exists(unfinished));
}

TEST_F(RunDirectory, AcceptsOneCheckpointAsThePath) {
  save(100, 1);
  EXPECT_EQ(load_world(checkpoint(100), {.device = "cpu"}).step, 100);
  EXPECT_EQ(load_world(folder_ / "checkpoints", {.device = "cpu"}).step, 100);
  EXPECT_EQ(run_directory(checkpoint(100)), folder_);
  EXPECT_EQ(run_directory(folder_ / "checkpoints/"), folder_);
  EXPECT_EQ(run_directory(folder_), folder_);
}

TEST_F(RunDirectory, NamesEveryTensorThatDoesNotFit) {
  RunConfig wider = tiny_config();
  wider.model.width = 48;
  save(100, 1, true, wider);
  EXPECT_THAT(message([&] { load_world(folder_, {.device = "cpu"}); }),
              AllOf(HasSubstr("'input.weight' is [32, 192] but the model's is [48, 192]"),
                    HasSubstr("more")));
}

TEST_F(RunDirectory, SaysWhatIsMissing) {
  EXPECT_THAT(message([&] { load_world(folder_); }), HasSubstr("no such folder"));
  fs::create_directories(folder_);
  EXPECT_THAT(message([&] { load_world(folder_); }), HasSubstr("no checkpoint here"));
}

TEST(CheckFields, NamesEveryDifference) {
  World world = build_world(tiny_config(), tiny_fields());
  DatasetConfig dataset;
  dataset.actions = tiny_fields();
  dataset.actions[0].unit = "radians";
  check_fields(world, dataset);
  dataset.actions[0].high = 2;
  dataset.actions[1].name = "jump";
  EXPECT_THAT(message([&] { check_fields(world, dataset); }),
              AllOf(HasSubstr("'turn' was axis in [-1, 1]"), HasSubstr("no field 'fire'"),
                    HasSubstr("know the field 'jump'")));
  dataset.actions = {tiny_fields()[1], tiny_fields()[0]};
  EXPECT_THAT(message([&] { check_fields(world, dataset); }), HasSubstr("another order"));
}

TEST(ChangedFields, NamesNumbersThatAreSeenAtAnotherScaleOrWithAnotherMeaning) {
  std::vector<ActionField> fields = tiny_fields();  // turn: axis in [-1, 1]; fire: button
  fields.push_back({.name = "look", .kind = "delta", .low = -10, .high = 10, .unit = ""});
  const std::vector<ActionField> source = fields;
  EXPECT_THAT(changed_fields(source, source), IsEmpty());
  fields[0].high = 2;
  fields[1].high = 2;  // a button has no range
  fields[2].low = 0;   // the largest magnitude is the same
  fields.push_back({.name = "new", .kind = "axis", .unit = ""});
  EXPECT_THAT(changed_fields(source, fields),
              ElementsAre("'turn' (was axis in [-1, 1], is axis in [-1, 2])"));
  fields[0].high = 1;
  fields[0].kind = "delta";
  fields[2].kind = "button";  // another number of features: no weights to keep
  EXPECT_THAT(changed_fields(source, fields),
              ElementsAre("'turn' (was axis in [-1, 1], is delta in [-1, 1])"));
}

}  // namespace
}  // namespace praxino
