#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "support/command.h"

namespace praxino {
namespace {

using testing::CommandResult;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using testing::run_command;

// What a launcher around the tests may have set must not be seen.
constexpr const char* kNoLauncher =
    "unset RANK WORLD_SIZE SLURM_PROCID SLURM_NTASKS OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE "
    "PMI_RANK PMI_SIZE; ";

CommandResult doctor(const std::string& environment = "") {
  return run_command(kNoLauncher + environment + " praxino doctor");
}

TEST(Doctor, DescribesBuildMachineAndVideo) {
  const CommandResult result = doctor();
  EXPECT_EQ(result.exit_code, 0) << result.out;
  EXPECT_EQ(result.err, "");
  for (const char* label :
       {"praxino", "libraries", "CPU", "memory", "CUDA", "kernels", "video", "launcher"}) {
    EXPECT_THAT(result.out, HasSubstr(std::string(label) + " ")) << label;
  }
  for (const char* fact :
       {"LibTorch 2.11", "FFmpeg", "h264", "usable cores", "none: one process"}) {
    EXPECT_THAT(result.out, HasSubstr(fact));
  }
  EXPECT_THAT(result.out, HasSubstr("\nno problems found\n"));
}

TEST(Doctor, ListsTheKernelsWithoutAGpuToo) {
  const CommandResult result = doctor("CUDA_VISIBLE_DEVICES=");
  EXPECT_THAT(result.out,
              MatchesRegex("(.|\n)*swiglu +mlp +portable +(no device|not built)(.|\n)*"))
      << result.out;
}

TEST(Doctor, SeesALauncherWithOneProcess) {
  const CommandResult result = doctor("RANK=0 WORLD_SIZE=1");
  EXPECT_EQ(result.exit_code, 0) << result.out;
  EXPECT_THAT(result.out, HasSubstr("torchrun: rank 0 of 1"));
}

TEST(Doctor, SeesItsPlaceAmongSeveralProcesses) {
  const CommandResult result = doctor("SLURM_PROCID=2 SLURM_NTASKS=4");
  EXPECT_EQ(result.exit_code, 0) << result.out;
  EXPECT_THAT(result.out, HasSubstr("Slurm: rank 2 of 4"));
}

TEST(Doctor, FindsALauncherThatContradictsItself) {
  const CommandResult result = doctor("RANK=4 WORLD_SIZE=4");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, HasSubstr("problem    torchrun says that this is rank 4 of 4"));
  EXPECT_THAT(result.out, Not(HasSubstr("no problems found")));
}

TEST(Doctor, AdvisesWhenThreadsAreFewerThanCores) {
  const CommandResult result = doctor("OMP_NUM_THREADS=1");
  EXPECT_THAT(result.out, HasSubstr("1 threads for the model"));
}

}  // namespace
}  // namespace praxino
