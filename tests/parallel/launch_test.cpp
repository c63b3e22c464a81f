#include "praxino/parallel/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "praxino/base/error.h"
#include "support/error_text.h"

namespace praxino {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

Launch launched(const Variables& variables) {
  return find_launch([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string refused(const Variables& variables) {
  return testing::error_text([&] { launched(variables); });
}

const Variables kTorchrun = {{"RANK", "5"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"MASTER_PORT", "29400"},
                             {"LOCAL_WORLD_SIZE", "4"},
                             {"MASTER_ADDR", "head"},
                             {"TORCHELASTIC_RESTART_COUNT", "2"},
                             {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
const Variables kSlurm = {{"SLURM_PROCID", "6"},
                          {"SLURM_LOCALID", "2"},
                          {"SLURM_NTASKS", "8"},
                          {"SLURM_NODEID", "1"},
                          {"SLURM_JOB_NUM_NODES", "2"},
                          {"SLURM_TASKS_PER_NODE", "4(x2)"},
                          {"SLURM_JOB_NODELIST", "node[003-004]"},
                          {"SLURM_JOB_ID", "123456"}};
const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "3"},
                            {"OMPI_COMM_WORLD_SIZE", "4"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "3"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                            {"PMIX_RANK", "3"}};

Variables with(Variables base, const Variables& more) {
  for (const auto& [name, value] : more) base[name] = value;
  return base;
}

TEST(Launch, IsOneProcessWithoutALauncher) {
  const Launch launch = launched({});
  EXPECT_EQ(launch.launcher, "none");
  EXPECT_EQ(launch.ranks, 1);
}

TEST(Launch, ReadsTorchrun) {
  const Launch launch = launched(kTorchrun);
  EXPECT_EQ(launch.launcher, "torchrun");
  EXPECT_EQ(launch.rank, 5);
  EXPECT_EQ(launch.ranks, 8);
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.local_ranks, 4);
  EXPECT_EQ(launch.address, "head");
  EXPECT_EQ(launch.port, 29400);
  EXPECT_TRUE(launch.agent_store);
  EXPECT_EQ(launch.restart, 2);
}

TEST(Launch, KnowsTheRanksThatPraxinoStarted) {
  const Launch launch = launched(with(kTorchrun, {{"TORCHELASTIC_RUN_ID", kSpawnedRun}}));
  EXPECT_EQ(launch.launcher, "--ranks");
  EXPECT_EQ(launch.rank, 5);
}

TEST(Launch, ReadsSlurmWhoseFirstNodeHostsTheStore) {
  const Launch launch = launched(kSlurm);
  EXPECT_EQ(launch.launcher, "Slurm");
  EXPECT_EQ(launch.rank, 6);
  EXPECT_EQ(launch.ranks, 8);
  EXPECT_EQ(launch.local_rank, 2);
  EXPECT_EQ(launch.local_ranks, 4);
  EXPECT_EQ(launch.address, "node003");
  EXPECT_EQ(launch.port, 20000 + 3456);
  EXPECT_FALSE(launch.agent_store);
}

TEST(Launch, TakesTheStepOfSlurmBeforeItsJob) {
  const Launch launch = launched(with(kSlurm, {{"SLURM_STEP_NUM_TASKS", "7"},
                                               {"SLURM_STEP_TASKS_PER_NODE", "4,3"},
                                               {"SLURM_STEP_NODELIST", "node[008,011]"}}));
  EXPECT_EQ(launch.ranks, 7);
  EXPECT_EQ(launch.local_ranks, 3);
  EXPECT_EQ(launch.address, "node008");
}

TEST(Launch, ReadsOpenMpiOnOneMachine) {
  const Launch launch = launched(kOpenMpi);
  EXPECT_EQ(launch.launcher, "Open MPI");
  EXPECT_EQ(launch.rank, 3);
  EXPECT_EQ(launch.local_ranks, 4);
  EXPECT_EQ(launch.address, "127.0.0.1");
  EXPECT_EQ(launch.port, 29500);
}

TEST(Launch, ReadsAnotherMpi) {
  const Launch launch = launched(
      {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}});
  EXPECT_EQ(launch.launcher, "MPI");
  EXPECT_EQ(launch.local_rank, 1);
  EXPECT_EQ(launch.address, "127.0.0.1");
}

TEST(Launch, TheNearestLauncherWins) {
  EXPECT_EQ(launched(with(kTorchrun, kSlurm)).launcher, "torchrun");
  EXPECT_EQ(launched(with(kOpenMpi, kSlurm)).launcher, "Open MPI");
}

TEST(Launch, MpiAcrossMachinesInsideSlurmUsesItsFirstNode) {
  const Variables two =
      with(kOpenMpi, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}});
  EXPECT_EQ(launched(with(two, kSlurm)).address, "node003");
  EXPECT_EQ(launched(two).address, "");
  EXPECT_EQ(launched(with(two, {{"MASTER_ADDR", "far"}})).address, "far");
}

TEST(Launch, RefusesWhatContradictsItself) {
  EXPECT_THAT(refused({{"RANK", "0"}}), HasSubstr("RANK without WORLD_SIZE"));
  EXPECT_THAT(refused(with(kTorchrun, {{"RANK", "8"}})), HasSubstr("rank 8 of 8"));
  EXPECT_THAT(refused(with(kTorchrun, {{"LOCAL_RANK", "4"}})), HasSubstr("rank 4 of the 4"));
  EXPECT_THAT(refused(with(kTorchrun, {{"RANK", "two"}})), HasSubstr("RANK is 'two'"));
  EXPECT_THAT(refused(with(kTorchrun, {{"MASTER_PORT", "70000"}})), HasSubstr("70000"));
  EXPECT_THAT(refused(with(kOpenMpi, {{"PMIX_RANK", "1"}})), HasSubstr("PMIX_RANK is 1"));
}

TEST(ExpandNodes, ReadsEveryFormOfSlurm) {
  EXPECT_THAT(expand_nodes("node[001-004,007]"),
              ElementsAre("node001", "node002", "node003", "node004", "node007"));
  EXPECT_THAT(expand_nodes("login"), ElementsAre("login"));
  EXPECT_THAT(expand_nodes("a,b[9-10],c-3.example"), ElementsAre("a", "b9", "b10", "c-3.example"));
  EXPECT_THAT(expand_nodes("r[1-2]n[08-09]x"), ElementsAre("r1n08x", "r1n09x", "r2n08x", "r2n09x"));
}

TEST(ExpandNodes, RefusesWhatItCannotRead) {
  for (const char* list : {"", "a,", "a[1-2", "a]1[", "a[2-1]", "a[x]", "a[1-]", "a[]", "a[[1]]",
                           "a[1-9999999]", "a[0-99999]b[0-99999]", "a[1--2]"}) {
    EXPECT_THAT(testing::error_text([&] { expand_nodes(list); }), HasSubstr("cannot be read"))
        << list;
  }
}

TEST(TasksOnNode, CountsThroughTheRepetitions) {
  EXPECT_EQ(tasks_on_node("2(x3),1", 2), 2);
  EXPECT_EQ(tasks_on_node("2(x3),1", 3), 1);
  EXPECT_THAT(testing::error_text([] { tasks_on_node("2(x3),1", 4); }), HasSubstr("fewer nodes"));
}

}  // namespace
}  // namespace praxino
