#include <fmt/format.h>

#include "end_to_end/training_run.h"

namespace praxino::testing {
namespace {

class Failure : public ::testing::Test {
 protected:
  int run(const Overrides& overrides) {
    Process process(train(run_file_, overrides), folder_.path() / "log");
    const int code = process.wait();
    log_ = process.log();
    return code;
  }
  TemporaryFolder folder_;
  fs::path run_file_ = write_tiny_run(folder_.path());
  fs::path directory_ = folder_.path() / "runs/tiny";
  std::string log_;
};

TEST_F(Failure, AMissedExpectationExitsWith3AndATable) {
  EXPECT_EQ(
      run({"run.steps=4",
           "expect=[{metric: train/loss, below: 0.0001}, {metric: train/loss, at: 2, above: 0}]"}),
      3);
  EXPECT_NE(log_.find("train/loss"), std::string::npos) << log_;
  EXPECT_NE(log_.find("below 0.0001"), std::string::npos) << log_;
  EXPECT_TRUE(fs::exists(checkpoint(directory_, 4)));
}

TEST_F(Failure, AHeldExpectationExitsWith0) {
  EXPECT_EQ(
      run({"run.steps=4",
           "expect=[{metric: eval/psnr@1, above: 0}, {metric: train/loss, at: 2, below: 10}]"}),
      0)
      << log_;
}

TEST_F(Failure, AMetricThatCannotComeIsToldBeforeTraining) {
  EXPECT_EQ(run({"run.steps=2", "expect=[{metric: eval/psnr@3, above: 0}]"}), 2);
  EXPECT_NE(log_.find("did you mean 'eval/psnr@"), std::string::npos) << log_;
  EXPECT_FALSE(fs::exists(directory_)) << log_;
}

TEST_F(Failure, AStopSignalDoesNotWaitForAnEvaluation) {
  // Evaluations of hours, a signal in the middle of one: the run ends with its plain weights saved,
  // and the next start makes that evaluation.
  const Overrides often = {"run.steps=12", "eval.every=6", "checkpoint.every=1000"};
  Overrides endless = often;
  endless.insert(endless.end(),
                 {"eval.clips=64", "eval.horizon=60", "objective.sampler_steps=1000"});
  const auto stop_at = [&](int64_t step) {
    Process process(train(run_file_, endless), folder_.path() / "log");
    ASSERT_TRUE(wait_for_step(directory_, step)) << process.log();
    std::this_thread::sleep_for(std::chrono::seconds(3));
    process.signal(SIGTERM);
    EXPECT_EQ(process.wait(), 143) << process.log();
    EXPECT_NE(process.log().find(fmt::format("stopped by a signal at step {}", step)),
              std::string::npos)
        << process.log();
  };
  stop_at(6);
  EXPECT_EQ(evaluated_steps(directory_), std::vector<int64_t>{});
  endless[1] = "eval.every=0";  // goes on to the end, and is stopped in the final evaluation
  stop_at(12);
  EXPECT_EQ(run(often), 0) << log_;
  EXPECT_EQ(evaluated_steps(directory_), std::vector<int64_t>{12});

  Overrides straight = often;
  straight.emplace_back("run.name=straight");
  EXPECT_EQ(run(straight), 0) << log_;
  EXPECT_EQ(evaluated_steps(folder_.path() / "runs/straight"), (std::vector<int64_t>{6, 12}));
  expect_same_state(checkpoint(folder_.path() / "runs/straight", 12), checkpoint(directory_, 12));
}

TEST_F(Failure, AnEvaluationThatWasGivenUpIsMadeAtTheNextStart) {
  const Overrides often = {"run.steps=10", "eval.every=6", "checkpoint.every=6"};
  Overrides endless = often;
  endless.insert(endless.end(),
                 {"eval.clips=64", "eval.horizon=60", "objective.sampler_steps=1000"});
  Process process(train(run_file_, endless), folder_.path() / "log");
  ASSERT_TRUE(wait_for_checkpoint(directory_, 6)) << process.log();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  process.signal(SIGKILL);
  process.wait();
  EXPECT_EQ(run(often), 0) << log_;
  EXPECT_EQ(evaluated_steps(directory_), (std::vector<int64_t>{6, 10}));
}

TEST_F(Failure, LossesThatAreNotFiniteAreSkippedAndEndTheRun) {
  // Rates at which any network overflows within a few steps.
  EXPECT_EQ(
      run({"run.steps=200", "optim.kind=adamw", "optim.lr=10", "optim.warmup=0", "optim.clip=0",
           "optim.weight_decay=10", "optim.max_skipped=5", "checkpoint.every=1000"}),
      1)
      << log_;
  EXPECT_NE(log_.find("skipped: its loss or gradients are not finite; samples"), std::string::npos)
      << log_;
  EXPECT_NE(log_.find("5 steps in a row"), std::string::npos) << log_;
}

TEST_F(Failure, AnEvaluationThatCannotBeIsToldBeforeTraining) {
  EXPECT_EQ(run({"eval.horizon=2000"}), 1);
  EXPECT_FALSE(fs::exists(directory_ / "log.jsonl")) << log_;
}

TEST_F(Failure, ASecondSignalExitsAtOnceAndHarmsNothing) {
  Process process(train(run_file_, {"run.steps=100000"}), folder_.path() / "log");
  ASSERT_TRUE(wait_for_step(directory_, 9)) << process.log();
  process.signal(SIGINT);
  process.signal(SIGINT);
  EXPECT_EQ(process.wait(), 130) << process.log();
  EXPECT_EQ(run({"run.steps=12"}), 0) << log_;
}

TEST_F(Failure, ASecondTrainerOfOneRunIsRefused) {
  Process first(train(run_file_, {"run.steps=100000"}), folder_.path() / "first");
  ASSERT_TRUE(wait_for_step(directory_, 1)) << first.log();
  EXPECT_EQ(run({}), 1);
  EXPECT_NE(log_.find("is being trained by process"), std::string::npos) << log_;
  EXPECT_EQ(run({"--fresh"}), 1);
  first.signal(SIGINT);
  EXPECT_EQ(first.wait(), 130);
}

TEST_F(Failure, DataThatBreaksAwayCostsNoSteps) {
  const fs::path data = folder_.path() / "data";
  fs::copy(fs::path(PRAXINO_SOURCE_DIR) / "tests/data/freedoom", data, fs::copy_options::recursive);
  Process process(train(run_file_, {"run.steps=100000", "checkpoint.every=90000",
                                    "data.path=" + data.string()}),
                  folder_.path() / "log");
  ASSERT_TRUE(wait_for_step(directory_, 3)) << process.log();
  for (const auto& entry : fs::directory_iterator(data)) {
    if (entry.path().extension() == ".mp4") fs::resize_file(entry.path(), 0);
  }
  EXPECT_EQ(process.wait(), 1) << process.log();
  EXPECT_FALSE(fs::is_empty(directory_ / "checkpoints")) << process.log();
}

TEST_F(Failure, WrongInputIsOneSentence) {
  EXPECT_EQ(run({"optim.learning_rate=1"}), 2);
  EXPECT_NE(log_.find("optim.learning_rate"), std::string::npos) << log_;
  EXPECT_EQ(run({"data.path=/no/such/folder"}), 2);
  EXPECT_NE(log_.find("/no/such/folder"), std::string::npos) << log_;
  EXPECT_EQ(run({"data.size=[20, 32]"}), 2);
  EXPECT_EQ(run({"data.clip_frames=4000"}), 2);
  EXPECT_NE(log_.find("data.clip_frames"), std::string::npos) << log_;
  EXPECT_FALSE(fs::exists(directory_ / "checkpoints/step-00000001"));
}

}  // namespace
}  // namespace praxino::testing
