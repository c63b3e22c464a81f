// Ranks that share one model, as processes: `praxino train --ranks N parallel.tensor=... `.
#include <gmock/gmock.h>

#include "end_to_end/training_run.h"

namespace praxino::testing {
namespace {

using ::testing::HasSubstr;

class SharedModelTraining : public ::testing::Test {
 protected:
  int run(const std::string& name, const Overrides& more) {
    Overrides all = {"run.name=" + name, "optim.kind=adamw", "optim.lr=0.001", "run.steps=12"};
    all.insert(all.end(), more.begin(), more.end());
    Process process(train(run_file_, all), folder_.path() / "log");
    const int code = process.wait();
    log_ = process.log();
    return code;
  }
  fs::path directory(const std::string& name) const { return folder_.path() / "runs" / name; }
  std::map<std::string, double> metrics(const std::string& name) const {
    return nlohmann::json::parse(read_file(directory(name) / "eval.json")).at("metrics");
  }

  TemporaryFolder folder_;
  fs::path run_file_ = write_tiny_run(folder_.path());
  std::string log_;
};

const Overrides kFourRanks = {"--ranks", "4", "parallel.tensor=2", "parallel.context=2"};

TEST_F(SharedModelTraining, TrainsEvaluatesAndGoesOnInOneProcess) {
  const Overrides evaluated = {"eval.every=6", "eval.clips=6"};
  ASSERT_EQ(run("one", evaluated), 0) << log_;
  const auto want = losses(directory("one"));
  const Overrides layouts[] = {kFourRanks, {"--ranks", "4", "parallel.tensor=2"}};
  for (Overrides four : layouts) {
    const std::string name = std::to_string(four.size());
    four.insert(four.end(), evaluated.begin(), evaluated.end());
    ASSERT_EQ(run(name, four), 0) << log_;
    const auto got = losses(directory(name));
    ASSERT_EQ(got.size(), want.size());
    for (const auto& [step, loss] : want) EXPECT_NEAR(got.at(step), loss, 1e-4 * loss) << step;
    const auto measured = metrics(name);
    for (const auto& [metric, value] : metrics("one")) {
      EXPECT_NEAR(measured.at(metric), value, 1e-2 * std::max(1.0, std::abs(value))) << metric;
    }
    ASSERT_EQ(run(name, {"run.steps=16"}), 0) << log_;
    EXPECT_THAT(log_, HasSubstr("resuming at step 12"));
  }
}

TEST_F(SharedModelTraining, FineTunesWhatOneProcessHasTrained) {
  ASSERT_EQ(run("one", {}), 0) << log_;
  Overrides from = kFourRanks;
  from.insert(from.end(), {"--from", directory("one").string(), "run.steps=2"});
  ASSERT_EQ(run("four", from), 0) << log_;
  EXPECT_THAT(log_, HasSubstr("fine-tuning from"));
  const auto untrained = losses(directory("one")), tuned = losses(directory("four"));
  EXPECT_LT(tuned.at(1), untrained.at(1) * 0.9);
}

// In the middle of an evaluation, too, which all ranks of the model do in step.
TEST_F(SharedModelTraining, AStopSignalEndsAllWithACheckpoint) {
  Overrides all = {"run.name=stopped", "run.steps=100000", "eval.every=2"};
  all.insert(all.end(), kFourRanks.begin(), kFourRanks.end());
  Process process(train(run_file_, all), folder_.path() / "log");
  ASSERT_TRUE(wait_for_step(directory("stopped"), 5)) << process.log();
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait(), 143) << process.log();
  EXPECT_THAT(process.log(), HasSubstr("the same command goes on from here"));
}

// The first and the last of four ranks: all start again from the newest checkpoint, and end with
// the bits of a run that nobody disturbed.
TEST_F(SharedModelTraining, ADeadRankCostsNothingThatWasSaved) {
  const Overrides layout = {"--ranks", "4", "parallel.tensor=2", "run.steps=40", "data.batch=2"};
  ASSERT_EQ(run("straight", layout), 0) << log_;
  Overrides all = {"run.name=cut", "optim.kind=adamw", "optim.lr=0.001"};
  all.insert(all.end(), layout.begin(), layout.end());
  Process process(train(run_file_, all), folder_.path() / "cut.log");
  for (const size_t killed : {0, 3}) {
    ASSERT_TRUE(wait_for_checkpoint(directory("cut"), killed == 0 ? 8 : 24)) << process.log();
    const std::vector<pid_t> ranks = process.children();
    if (ranks.size() == 4) kill(ranks[killed], SIGKILL);
  }
  EXPECT_EQ(process.wait(), 0) << process.log();
  EXPECT_THAT(process.log(), HasSubstr("starting all 4 ranks again"));
  EXPECT_EQ(losses(directory("cut")), losses(directory("straight")));
  expect_same_state(checkpoint(directory("straight"), 40), checkpoint(directory("cut"), 40));
}

TEST_F(SharedModelTraining, SaysBeforeItStartsWhatCannotBeShared) {
  EXPECT_EQ(run("three", {"--ranks", "3", "parallel.tensor=3"}), 2);
  EXPECT_THAT(log_, HasSubstr("parallel.tensor is 3, and the model has 2 heads"));
  EXPECT_EQ(run("five", {"--ranks", "5", "parallel.context=5"}), 2);
  EXPECT_THAT(log_, HasSubstr("a clip has 4 frames"));
  EXPECT_FALSE(fs::exists(directory("three")));
}

}  // namespace
}  // namespace praxino::testing
