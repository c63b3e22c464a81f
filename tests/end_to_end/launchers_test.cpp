// Launchers as they are, where this machine has them: `praxino train` under torchrun and mpirun.
#include <fmt/format.h>

#include "end_to_end/training_run.h"
#include "support/command.h"

namespace praxino::testing {
namespace {

class Launchers : public ::testing::Test {
 protected:
  bool works(const std::string& command) const {
    return run_command(environment_ + command).exit_code == 0;
  }
  /// Eight steps of two ranks that `launcher` starts; their losses are those of `--ranks 2`.
  void expect_training_as_spawned(const std::string& launcher, const std::string& shown) const {
    const auto command = [&](const std::string& before, const std::string& name) {
      return fmt::format(
          "{}{} praxino train '{}' run.steps=8 data.batch=4 optim.kind=adamw run.name={}",
          environment_, before, run_file_.string(), name);
    };
    const CommandResult launched = run_command(command(launcher, "launched"));
    ASSERT_EQ(launched.exit_code, 0) << launched.err;
    EXPECT_NE(launched.err.find("2 ranks (" + shown + ")"), std::string::npos) << launched.err;
    const CommandResult spawned = run_command(command("", "spawned") + " --ranks 2");
    ASSERT_EQ(spawned.exit_code, 0) << spawned.err;
    const auto losses_of = [&](const char* name) { return losses(folder_.path() / "runs" / name); };
    EXPECT_EQ(losses_of("launched").size(), 8U);
    EXPECT_EQ(losses_of("launched"), losses_of("spawned"));
  }

  TemporaryFolder folder_;
  fs::path run_file_ = write_tiny_run(folder_.path());
  // torchrun asks for the names of its peers and of this machine: where nobody answers, let it not
  // take minutes.
  std::string environment_ =
      "export PYTHONPATH='" PRAXINO_TORCH_WHEEL "' RES_OPTIONS='timeout:1 attempts:1'\n";
};

TEST_F(Launchers, Torchrun) {
  if (!works("python3 -c 'import torch.distributed.run'")) {
    GTEST_SKIP() << "python3 cannot load torch from " PRAXINO_TORCH_WHEEL;
  }
  expect_training_as_spawned(
      "python3 -m torch.distributed.run --standalone --nproc-per-node 2 --local-addr 127.0.0.1 "
      "--no-python",
      "torchrun");
}

TEST_F(Launchers, OpenMpi) {
  if (!works("mpirun --version | grep -q 'Open MPI'")) GTEST_SKIP() << "there is no Open MPI here";
  const std::string as_root = getuid() == 0 ? " --allow-run-as-root" : "";
  expect_training_as_spawned("mpirun --oversubscribe --bind-to none -np 2" + as_root, "Open MPI");
}

}  // namespace
}  // namespace praxino::testing
