// The ranks that are started here are this test program itself, running the one disabled test.
#include "praxino/parallel/spawn.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <thread>

#include "praxino/base/file.h"
#include "praxino/parallel/mesh.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

using ::testing::HasSubstr;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// What a rank does, chosen by the test that started it.
TEST(SpawnedRank, DISABLED_Works) {
  const Launch launch =
      find_launch([](const char* name) -> const char* { return std::getenv(name); });
  const std::string task = variable("PRAXINO_TEST_TASK");
  const bool odd_one = launch.rank == 1 && launch.restart < 2;
  if (task == "die twice" && odd_one) raise(SIGKILL);
  if (task == "usage" && launch.rank == 1) _exit(2);
  if (task == "fail") _exit(1);
  if (task == "wait for a signal") {
    signal(SIGTERM, [](int) { _exit(143); });
    OutputFile(std::filesystem::path(variable("PRAXINO_TEST_FOLDER")) / std::to_string(launch.rank))
        .close();
    pause();
  }
  const auto mesh = Mesh::join(launch, {.shape = {.data = launch.ranks}, .join_seconds = 60});
  const at::Tensor one = at::full({1}, 1.0);
  mesh->world().all_reduce(one).wait();
  _exit(one.item<double>() == static_cast<double>(launch.ranks) ? 0 : 1);
}

class Spawn : public ::testing::Test {
 protected:
  int run(const std::string& task, int64_t ranks, std::function<int64_t()> progress = {}) {
    setenv("PRAXINO_TEST_TASK", task.c_str(), 1);
    setenv("PRAXINO_TEST_FOLDER", folder_.path().c_str(), 1);
    return run_ranks({.ranks = ranks,
                      .arguments = {"parallel_test", "--gtest_filter=SpawnedRank.*",
                                    "--gtest_also_run_disabled_tests", "--gtest_brief=1"},
                      .progress = std::move(progress),
                      .grace = std::chrono::milliseconds(200)});
  }
  testing::TemporaryFolder folder_;
};

TEST_F(Spawn, StartsRanksThatFindEachOther) { EXPECT_EQ(run("", 3), 0); }

TEST_F(Spawn, StartsAllAgainWhenOneDies) { EXPECT_EQ(run("die twice", 2), 0); }

TEST_F(Spawn, GivesUpWithoutProgressAndSaysWhoFailed) {
  int64_t asked = 0;
  const std::string text = testing::error_text([&] {
    run("fail", 2, [&] {
      ++asked;
      return int64_t{5};
    });
  });
  EXPECT_THAT(text, HasSubstr("ended with exit code 1; given up after 3 starts"));
  EXPECT_EQ(asked, 6);
}

TEST_F(Spawn, DoesNotRepeatWrongUsage) { EXPECT_EQ(run("usage", 2), 2); }

TEST_F(Spawn, HandsASignalOnAndReturnsItsCode) {
  const std::jthread sender([this] {
    const auto here = [&](const char* rank) { return std::filesystem::exists(folder_ / rank); };
    while (!here("0") || !here("1")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    kill(getpid(), SIGTERM);
  });
  EXPECT_EQ(run("wait for a signal", 2), 143);
}

}  // namespace
}  // namespace praxino
