// A step that is recorded learns as one that is not: on the CPU, with a recorder that runs the step
// when it is recorded and again at each later replay.
#include "train/learning_step.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <utility>

#include "support/run_again_recorder.h"
#include "train/training_part.h"

namespace praxino {
namespace {

/// Another optimizer that says of itself what the test wants.
class Claiming final : public Optimizer {
 public:
  Claiming(std::unique_ptr<Optimizer> real, bool recordable)
      : real_(std::move(real)), recordable_(recordable) {}
  using Optimizer::step;
  void set_rate(double rate) override { real_->set_rate(rate); }
  StepStats step(const at::Tensor& loss) override { return real_->step(loss); }
  bool recordable() const override { return recordable_; }
  std::vector<std::pair<std::string, at::Tensor>> state() const override { return real_->state(); }

 private:
  std::unique_ptr<Optimizer> real_;
  bool recordable_;
};

RunConfig small_run(bool cuda_graphs) {
  RunConfig config;
  config.run.precision = "fp32";
  config.run.device = "cpu";
  config.run.cuda_graphs = cuda_graphs;
  config.data.clip_frames = 4;
  config.data.size = {16, 16};
  config.model.width = 32;
  config.model.depth = 2;
  config.model.heads = 2;
  config.optim.gradient_accumulation = 2;
  return config;
}

struct Learner {
  Learner(bool cuda_graphs, bool recordable)
      : config(small_run(cuda_graphs)),
        world(build_world(config, {})),
        optimizer(make_optimizer(config.optim, world.model->parameters()), recordable),
        step(config, world, optimizer) {}

  /// Step number `number`; its scalars, and the rate that it says.
  std::vector<std::pair<std::string, double>> learn(uint64_t number) {
    uint64_t part = 0;
    const auto next_part = [&] { return testing::training_part(world, 2 * number + part++); };
    const auto result = step.run(next_part, [&] { return 1.0 / static_cast<double>(number + 1); });
    std::vector<std::pair<std::string, double>> values = {{"rate", result.stats.learning_rate}};
    for (const auto& [name, value] : result.scalars)
      values.emplace_back(name, value.item<double>());
    values.emplace_back("norm", result.stats.gradient_norm.item<double>());
    values.emplace_back("was skipped", result.stats.skipped.item<double>());
    return values;
  }

  RunConfig config;
  World world;
  Claiming optimizer;
  LearningStep step;
};

class LearningSteps : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }
  testing::WithRunAgainRecorder recorder_;
};

TEST_F(LearningSteps, LearnTheSameWhetherTheyAreRecordedOrNot) {
  Learner plain(false, false), recorded(true, true);
  for (uint64_t number = 0; number < 7; ++number)
    EXPECT_EQ(recorded.learn(number), plain.learn(number)) << number;
  EXPECT_EQ(testing::run_again_counts().recordings, 1);
  EXPECT_EQ(testing::run_again_counts().replays, 4);  // three run as they are first
  const auto& parameters = plain.world.model->parameters().all();
  for (const Parameter& p : recorded.world.model->parameters().all()) {
    const auto same = std::ranges::find(parameters, p.name, &Parameter::name);
    EXPECT_TRUE(p.value.equal(same->value)) << p.name;
    EXPECT_FALSE(p.value.grad().defined()) << p.name;
  }
}

TEST_F(LearningSteps, AreNotRecordedWhereTheOptimizerCannotBe) {
  Learner plain(false, false), refused(true, false);
  for (uint64_t number = 0; number < 5; ++number)
    EXPECT_EQ(refused.learn(number), plain.learn(number)) << number;
  EXPECT_EQ(testing::run_again_counts().recordings, 0);
}

TEST_F(LearningSteps, RunAsTheyAreWhereThereIsNoRecorder) {
  ops::use_recorder_maker(nullptr);
  Learner plain(false, false), without(true, true);
  for (uint64_t number = 0; number < 5; ++number)
    EXPECT_EQ(without.learn(number), plain.learn(number)) << number;
}

}  // namespace
}  // namespace praxino
