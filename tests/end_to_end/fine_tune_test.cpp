#include "end_to_end/training_run.h"

namespace praxino::testing {
namespace {

class FineTune : public ::testing::Test {
 protected:
  std::string run(const std::vector<std::string>& arguments, int expected = 0) {
    Process process(arguments, folder_.path() / "log");
    const int code = process.wait();
    EXPECT_EQ(code, expected) << process.log();
    return process.log();
  }
  TemporaryFolder folder_;
  fs::path run_file_ = write_tiny_run(folder_.path());
  fs::path base_ = folder_.path() / "runs/tiny";
};

TEST_F(FineTune, LoadsWhatFitsAndListsTheRest) {
  run(train(run_file_, {"run.steps=8"}));
  const std::string log =
      run(train(run_file_, {"run.name=longer", "run.steps=2", "data.clip_frames=6",
                            "model.registers=3", "--from", base_.string()}));
  EXPECT_NE(log.find("fine-tuning from"), std::string::npos) << log;
  EXPECT_NE(log.find("registers"), std::string::npos) << log;
  EXPECT_EQ(log.find("starts fresh: blocks.0.attention.query.weight"), std::string::npos) << log;
}

TEST_F(FineTune, NamesEveryTensorThatStartsFresh) {
  run(train(run_file_, {"run.steps=2"}));
  const std::string log = run(train(
      run_file_, {"run.name=other", "run.steps=1", "model.width=48", "--from", base_.string()}));
  EXPECT_NE(log.find("starts fresh: blocks.0.attention.query.weight"), std::string::npos) << log;
  EXPECT_EQ(log.find("starts fresh: gates.weight"), std::string::npos)
      << log;  // does not depend on the width
}

TEST_F(FineTune, DoesNotSetItsOwnSourceAside) {
  run(train(run_file_, {"run.steps=2"}));
  const std::string log = run(train(run_file_, {"--fresh", "--from", base_.string()}), 2);
  EXPECT_NE(log.find("give run.name a new name"), std::string::npos) << log;
  EXPECT_TRUE(fs::exists(checkpoint(base_, 2)));
}

TEST_F(FineTune, AWrongSourceChangesNothing) {
  run(train(run_file_, {"run.steps=2"}));
  run(train(run_file_, {"--fresh", "--from", (folder_.path() / "nowhere").string()}), 1);
  EXPECT_TRUE(fs::exists(checkpoint(base_, 2)));
  run(train(run_file_, {"run.name=new", "--fresh", "--from", base_.string(), "run.steps=1"}));
}

TEST_F(FineTune, FreshSetsTheOldRunAside) {
  run(train(run_file_, {"run.steps=2"}));
  const std::string log = run(train(run_file_, {"run.steps=2", "--fresh"}));
  EXPECT_TRUE(fs::exists(base_.string() + ".old-1/checkpoints/step-00000002")) << log;
}

TEST_F(FineTune, RollsOutAndEvaluatesWithTheSameBits) {
  run(train(run_file_, {"run.steps=4"}));
  run({"eval", base_.string(), "--clips", "2"});
  EXPECT_TRUE(fs::exists(base_ / "eval.json"));
  const auto roll = [&](const std::string& out) {
    run({"rollout", base_.string(), "--actions", "forward*3,turn:8*2", "--frames", "5", "--seed",
         "9", "--out", (folder_.path() / out).string()});
    return read_file(folder_.path() / out / "rollout.mp4") +
           read_file(folder_.path() / out / "rollout.png");
  };
  EXPECT_EQ(roll("a"), roll("b"));
}

}  // namespace
}  // namespace praxino::testing
