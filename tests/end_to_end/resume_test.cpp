#include "end_to_end/training_run.h"

namespace praxino::testing {
namespace {

class Resume : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  fs::path run_file_ = write_tiny_run(folder_.path());
  fs::path straight_ = folder_.path() / "runs/straight";
  fs::path cut_ = folder_.path() / "runs/cut";

  int run(const std::string& name, const Overrides& more = {}) {
    Overrides overrides = {"run.name=" + name};
    overrides.insert(overrides.end(), more.begin(), more.end());
    Process process(train(run_file_, overrides), folder_.path() / "log");
    const int code = process.wait();
    log_ = process.log();
    return code;
  }
  std::string log_;
};

// So many steps that a run is still under way when this process has its turn to end it.
const std::string kLong = "run.steps=200";

TEST_F(Resume, AfterAKillIsBitIdentical) {
  ASSERT_EQ(run("straight", {kLong}), 0) << log_;
  {
    Process killed(train(run_file_, {"run.name=cut", kLong}), folder_.path() / "killed");
    ASSERT_TRUE(wait_for_step(cut_, 17)) << killed.log();
    ASSERT_TRUE(wait_for_checkpoint(cut_, 16)) << killed.log();
    killed.signal(SIGKILL);
    EXPECT_EQ(killed.wait(), 128 + SIGKILL);
  }
  ASSERT_EQ(run("cut", {kLong, "data.workers=1"}), 0) << log_;
  EXPECT_GE(resumed_step(log_), 16) << log_;
  expect_same_state(checkpoint(straight_, 200), checkpoint(cut_, 200));
  EXPECT_EQ(losses(straight_), losses(cut_));
  EXPECT_EQ(losses(cut_).size(), 200U);
}

TEST_F(Resume, AfterATermIsBitIdentical) {
  ASSERT_EQ(run("straight", {kLong}), 0) << log_;
  Process stopped(train(run_file_, {"run.name=cut", kLong}), folder_.path() / "stopped");
  ASSERT_TRUE(wait_for_step(cut_, 5)) << stopped.log();
  stopped.signal(SIGTERM);
  EXPECT_EQ(stopped.wait(), 143) << stopped.log();
  EXPECT_NE(stopped.log().find("stopped by a signal"), std::string::npos);
  ASSERT_EQ(run("cut", {kLong}), 0) << log_;
  EXPECT_GE(resumed_step(log_), 5) << log_;
  expect_same_state(checkpoint(straight_, 200), checkpoint(cut_, 200));
  EXPECT_EQ(losses(straight_), losses(cut_));
}

TEST_F(Resume, OfAFinishedRunChangesNothing) {
  ASSERT_EQ(run("straight", {"run.steps=8"}), 0) << log_;
  const std::string before = read_file(checkpoint(straight_, 8) / "manifest.json");
  ASSERT_EQ(run("straight", {"run.steps=8"}), 0) << log_;
  EXPECT_EQ(read_file(checkpoint(straight_, 8) / "manifest.json"), before);
}

TEST_F(Resume, RefusesAnotherModelAndNamesIt) {
  ASSERT_EQ(run("straight", {"run.steps=8"}), 0) << log_;
  EXPECT_EQ(run("straight", {"model.width=64"}), 1);
  EXPECT_NE(log_.find("model"), std::string::npos) << log_;
  EXPECT_NE(log_.find("--fresh"), std::string::npos) << log_;
}

TEST_F(Resume, RefusesActionsThatMeanSomethingElse) {
  const fs::path data = folder_.path() / "data";
  fs::copy(fs::path(PRAXINO_SOURCE_DIR) / "tests/data/freedoom", data, fs::copy_options::recursive);
  const Overrides here = {"run.steps=8", "data.path=" + data.string()};
  ASSERT_EQ(run("straight", here), 0) << log_;
  std::string text = read_file(data / "dataset.yaml");
  text.replace(text.find("action_at_frame"), 15, "action_before_frame");
  write_file_atomic(data / "dataset.yaml", text);
  EXPECT_EQ(run("straight", here), 1);
  EXPECT_NE(log_.find("dataset.yaml is not the one"), std::string::npos) << log_;
}

TEST_F(Resume, GoesOnWithDataThatMoved) {
  const fs::path data = folder_.path() / "data";
  fs::copy(fs::path(PRAXINO_SOURCE_DIR) / "tests/data/freedoom", data, fs::copy_options::recursive);
  ASSERT_EQ(run("straight", {"run.steps=8", "data.path=" + data.string()}), 0) << log_;
  fs::rename(data, folder_.path() / "elsewhere");
  EXPECT_EQ(
      run("straight", {"run.steps=9", "data.path=" + (folder_.path() / "elsewhere").string()}), 0)
      << log_;
  EXPECT_NE(log_.find("resuming at step 8"), std::string::npos) << log_;
}

TEST_F(Resume, FallsBackToTheCheckpointBeforeADamagedOne) {
  ASSERT_EQ(run("straight", {"run.steps=16"}), 0) << log_;
  const fs::path victim = checkpoint(straight_, 16) / "ema.safetensors";
  std::string bytes = read_file(victim);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_file_atomic(victim, bytes);
  ASSERT_EQ(run("straight", {"run.steps=16"}), 0) << log_;
  EXPECT_NE(log_.find("ema.safetensors"), std::string::npos) << log_;
  EXPECT_NE(log_.find("resuming at step 8"), std::string::npos) << log_;
}

}  // namespace
}  // namespace praxino::testing
