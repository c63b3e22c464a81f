#include "cli/machine.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace praxino {
namespace {

using Variables = std::map<std::string, std::string>;

std::optional<Launch> launch_with(const Variables& variables) {
  return find_launch([&variables](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(Machine, ReadsAnX86Processor) {
  const Processor processor = parse_processor(
      "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t\t: fpu avx2 avx512f avx512_bf16 "
      "amx_bf16\n");
  EXPECT_EQ(processor.name, "Some CPU @ 2.0GHz");
  EXPECT_TRUE(processor.avx2 && processor.avx512 && processor.amx);
}

TEST(Machine, AvxAloneIsNotAmx) {
  const Processor processor = parse_processor("model name\t: Old\nflags\t\t: avx2 avx512f\n");
  EXPECT_TRUE(processor.avx512);
  EXPECT_FALSE(processor.amx);
}

TEST(Machine, ReadsAnArmProcessor) {
  const Processor processor = parse_processor("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n");
  EXPECT_EQ(processor.name, "unknown processor");
  EXPECT_FALSE(processor.avx2 || processor.avx512 || processor.amx);
}

TEST(Machine, ReadsMemory) {
  const Memory memory =
      parse_memory("MemTotal:       2048 kB\nMemFree:  1 kB\nMemAvailable:   1024 kB\n");
  EXPECT_EQ(memory.total, 2048u * 1024);
  EXPECT_EQ(memory.available, 1024u * 1024);
  EXPECT_EQ(parse_memory("").total, 0u);
}

TEST(Machine, KnowsEveryLauncherByItsVariables) {
  struct Case {
    Variables variables;
    std::string launcher;
  };
  for (const Case& c : {
           Case{{{"RANK", "3"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}}, "torchrun"},
           Case{{{"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "8"}}, "Slurm"},
           Case{{{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "8"}}, "Open MPI"},
           Case{{{"PMI_RANK", "3"}, {"PMI_SIZE", "8"}}, "MPI"},
       }) {
    const auto launch = launch_with(c.variables);
    ASSERT_TRUE(launch.has_value()) << c.launcher;
    EXPECT_EQ(launch->launcher, c.launcher);
    EXPECT_EQ(launch->rank, 3);
    EXPECT_EQ(launch->ranks, 8);
  }
}

TEST(Machine, TorchrunInsideSlurmIsTorchrun) {
  const auto launch = launch_with(
      {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}, {"RANK", "5"}, {"WORLD_SIZE", "8"}});
  ASSERT_TRUE(launch.has_value());
  EXPECT_EQ(launch->launcher, "torchrun");
}

TEST(Machine, HalfAnEnvironmentIsNoLauncher) {
  EXPECT_FALSE(launch_with({}).has_value());
  EXPECT_FALSE(launch_with({{"RANK", "0"}}).has_value());
  EXPECT_FALSE(launch_with({{"RANK", "0"}, {"WORLD_SIZE", "many"}}).has_value());
}

}  // namespace
}  // namespace praxino
