// Training that reads bfloat16 copies of its weights learns what training without them learns, to
// the bit, and rounds a weight where it was written, not where it is read.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "support/temporary_folder.h"
#include "support/weight_copies.h"
#include "train/learning_step.h"
#include "train/small_training.h"
#include "train/train_state.h"
#include "train/training_part.h"

namespace praxino {
namespace {

using testing::current_copies;
using testing::matrices;
using testing::same_bits;
using testing::training_part;
using testing::WeightCasts;
using Tensors = std::vector<at::Tensor>;

/// Notes how many weights were rounded when the step's update began.
class Watched final : public Optimizer {
 public:
  explicit Watched(std::unique_ptr<Optimizer> real) : real_(std::move(real)) {}
  using Optimizer::step;
  void set_rate(double rate) override { real_->set_rate(rate); }
  StepStats step(const at::Tensor& loss) override {
    if (casts != nullptr) before = casts->take();
    return real_->step(loss);
  }
  bool recordable() const override { return real_->recordable(); }
  std::vector<std::pair<std::string, at::Tensor>> state() const override { return real_->state(); }

  WeightCasts* casts = nullptr;  // borrowed
  int64_t before = 0;

 private:
  std::unique_ptr<Optimizer> real_;
};

struct Shape {
  const char* kind = "muon";
  bool checkpointing = false;
  int64_t parts = 1;  // of a step
};
void PrintTo(const Shape& shape, std::ostream* to) {
  *to << shape.kind << (shape.checkpointing ? ", checkpointed, " : ", ") << shape.parts << " parts";
}

RunConfig config_of(const Shape& shape) {
  RunConfig config;
  config.run.precision = "bf16";
  config.run.device = "cpu";
  config.data.clip_frames = 4;
  config.data.size = {16, 16};
  config.model.width = 32;
  config.model.depth = 2;
  config.model.heads = 2;
  config.model.time_every = 2;
  config.model.activation_checkpointing = shape.checkpointing;
  config.optim.kind = shape.kind;
  config.optim.gradient_accumulation = shape.parts;
  config.optim.ema = 0.9;
  return config;
}

struct Learner {
  Learner(const Shape& shape, bool copies)
      : config(config_of(shape)),
        world(build_world(config, {})),
        averages(config.optim.ema, world.model->parameters()),
        optimizer(make_optimizer(config.optim, world.model->parameters(), {}, &averages)),
        step(config, world, optimizer) {
    if (copies) world.model->keep_copies();
  }

  TrainingPart part(uint64_t sample, bool spoiled = false) const {
    TrainingPart part = training_part(world, sample);
    if (spoiled) part.input.z.fill_(std::numeric_limits<float>::quiet_NaN());
    return part;
  }

  /// Everything that step number `number` says and leaves.
  Tensors learn(uint64_t number, bool spoiled = false) {
    uint64_t asked = 0;
    const auto result = step.run([&] { return part(10 * number + asked++, spoiled); },
                                 [&] { return 1.0 / static_cast<double>(number + 1); });
    Tensors all = {result.stats.gradient_norm, result.stats.skipped};
    for (const auto& scalar : result.scalars) all.push_back(scalar.second);
    for (const auto& state : captured().files) {
      for (const auto& tensor : state.second) all.push_back(tensor.second);
    }
    return all;
  }
  TrainState captured() { return capture_state(parts(), {}, /*first=*/true); }
  TrainParts parts() { return {world, world.model->parameters(), optimizer, averages, {}}; }

  /// As an evaluation predicts, with the averaged weights.
  at::Tensor predict() {
    const at::NoGradGuard no_grad;
    averages.swap();
    const TrainingPart in = part(77);
    at::Tensor prediction = world.model->forward(in.input.z, in.input.signal, in.actions);
    averages.swap();
    return prediction;
  }
  const Parameters& parameters() const { return std::as_const(*world.model).parameters(); }

  RunConfig config;
  World world;
  Ema averages;
  Watched optimizer;
  LearningStep step;
};

bool has_copies(const Parameters& parameters) {
  return std::ranges::any_of(
      parameters.all(), [](const Parameter& p) { return p.copy && p.copy->memory().defined(); });
}

void expect_same_bits(const Tensors& got, const Tensors& want, const char* when) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(same_bits(got[i], want[i])) << when << i;
}

class WeightCopiesInTraining : public ::testing::TestWithParam<Shape> {
 protected:
  void SetUp() override { at::set_num_threads(1); }
};

TEST_P(WeightCopiesInTraining, ChangeNoBit) {
  Learner with(GetParam(), true), without(GetParam(), false);
  ASSERT_FALSE(has_copies(without.parameters()));
  const auto both = [&](uint64_t number, bool spoiled, const char* when) {
    expect_same_bits(with.learn(number, spoiled), without.learn(number, spoiled), when);
    EXPECT_EQ(current_copies(with.parameters()), matrices(with.parameters())) << when;
  };
  both(0, false, "first ");
  both(1, false, "second ");
  both(2, true, "skipped ");
  both(3, false, "after a skipped one ");
  EXPECT_TRUE(same_bits(with.predict(), without.predict())) << "averaged weights";
  both(4, false, "after an evaluation ");
  const TrainState saved = without.captured();
  both(5, false, "before going back ");
  restore_state(saved, with.parts());
  restore_state(saved, without.parts());
  both(6, false, "resumed ");
  {
    const at::NoGradGuard no_grad;
    for (Learner* one : {&with, &without}) {
      at::Tensor matrix =
          one->world.model->parameters().find("blocks.0.feed_forward.up.weight")->value;
      matrix.narrow(0, 0, 1).mul_(3);
    }
  }
  both(7, false, "written in between ");
}

TEST_P(WeightCopiesInTraining, RoundAWeightWhereItIsWritten) {
  Learner learner(GetParam(), true);
  learner.learn(0);
  const int64_t count = matrices(learner.parameters());
  ASSERT_EQ(count, 12);
  WeightCasts casts(learner.parameters());
  learner.optimizer.casts = &casts;
  learner.learn(1);
  EXPECT_EQ(learner.optimizer.before, 0) << "forward, backward";
  EXPECT_EQ(casts.take(), count) << "update";
}

// What the test above would find without them.
TEST_P(WeightCopiesInTraining, SpareARoundingOfEveryPass) {
  Learner learner(GetParam(), false);
  learner.learn(0);
  WeightCasts casts(learner.parameters());
  learner.optimizer.casts = &casts;
  learner.learn(1);
  const int64_t passes = GetParam().parts * (GetParam().checkpointing ? 2 : 1);
  EXPECT_EQ(learner.optimizer.before, passes * matrices(learner.parameters()));
}

INSTANTIATE_TEST_SUITE_P(Shapes, WeightCopiesInTraining,
                         ::testing::Values(Shape{}, Shape{.kind = "adamw"},
                                           Shape{.checkpointing = true, .parts = 3},
                                           Shape{.kind = "adamw", .checkpointing = true},
                                           Shape{.parts = 2}));

RunConfig bf16_run(const std::filesystem::path& folder, const std::string& name) {
  RunConfig config = testing::small_run(folder, name);
  config.run.precision = "bf16";
  config.optim.ema = 0.9;
  return config;
}

void expect_current(const Trainer& trainer) {
  const Parameters& parameters = std::as_const(*trainer.world().model).parameters();
  EXPECT_EQ(current_copies(parameters), matrices(parameters));
}

TEST(WeightCopiesOfARun, AreCurrentThroughEvaluationsAndAResumption) {
  const testing::TemporaryFolder folder;
  RunConfig config = bf16_run(folder.path(), "run");
  config.run.steps = 4;
  config.data.split.val = 0.5;
  config.eval.every = 2;
  config.eval.clips = 2;
  config.eval.context = 2;
  config.eval.horizon = 2;
  {
    Trainer trainer(config, {});
    trainer.step();
    expect_current(trainer);
    EXPECT_EQ(trainer.run(), 0);
    expect_current(trainer);
  }
  config.run.steps = 6;
  Trainer again(config, {});
  EXPECT_EQ(again.steps_done(), 4);
  again.step();
  expect_current(again);
}

TEST(WeightCopiesOfARun, AreMadeOfWhatRanksHaveGathered) {
  const testing::TemporaryFolder folder;
  for (const MeshShape shape :
       {MeshShape{.data = 2}, MeshShape{.tensor = 2}, MeshShape{.data = 2, .tensor = 2}}) {
    const RunConfig config = bf16_run(
        folder.path(), "ranks-" + std::to_string(shape.ranks()) + std::to_string(shape.tensor));
    run_as_threads(shape, [&](Mesh& mesh) {
      Trainer trainer(config, {.from = {}, .mesh = {&mesh, [](const Mesh*) {}}});
      expect_current(trainer);
      trainer.step();
      EXPECT_EQ(current_copies(trainer.world().model->parameters()), 0) << "weights under way";
      trainer.save();  // waits for them
      expect_current(trainer);
      trainer.step();
    });
  }
}

TEST(WeightCopiesOfARun, AreNotThereWhereNobodyWouldReadThem) {
  const testing::TemporaryFolder folder;
  RunConfig config = bf16_run(folder.path(), "fp32");
  config.run.precision = "fp32";
  Trainer whole(config, {});
  EXPECT_FALSE(has_copies(whole.world().model->parameters()));
  config = bf16_run(folder.path(), "sharded");
  config.model.activation_checkpointing = config.parallel.shard_weights = true;
  run_as_threads({.data = 2}, [&](Mesh& mesh) {
    Trainer trainer(config, {.from = {}, .mesh = {&mesh, [](const Mesh*) {}}});
    EXPECT_FALSE(has_copies(trainer.world().model->parameters()));
    trainer.step();
  });
}

}  // namespace
}  // namespace praxino
