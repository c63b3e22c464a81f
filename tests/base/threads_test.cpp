#include "praxino/base/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/cgroup.h"
#include "praxino/base/file.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

TEST(ParallelForEach, RunsEachIndexOnce) {
  for (const int workers : {0, 1, 2, 5, 64}) {
    std::vector<std::atomic<int>> runs(100);
    parallel_for_each(100, workers, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
    for (const auto& count : runs) EXPECT_EQ(count, 1) << workers;
  }
  parallel_for_each(0, 4, [](int64_t) { FAIL(); });
}

TEST(ParallelForEach, UsesSeveralThreadsAtATime) {
  // Each task waits for the other one: with a single thread this would never end.
  std::atomic<int> arrived = 0;
  parallel_for_each(2, 2, [&](int64_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
}

TEST(ParallelForEach, ThrowsTheFirstErrorAgainAndStops) {
  for (const int workers : {1, 4}) {
    try {
      // So many that the end would not be seen.
      parallel_for_each(int64_t{1} << 60, workers, [&](int64_t i) {
        if (i == 10) throw std::runtime_error("ten");
      });
      FAIL();
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "ten");
    }
  }
}

TEST(UsableCores, IsAtLeastOneAndNoMoreThanTheMachineHas) {
  EXPECT_GE(usable_cores(), 1);
  EXPECT_LE(usable_cores(), static_cast<int>(std::thread::hardware_concurrency()));
}

TEST(QuotaCores, RoundsUp) {
  EXPECT_EQ(quota_cores("200000 100000\n"), 2);
  EXPECT_EQ(quota_cores("150000 100000\n"), 2);
  EXPECT_EQ(quota_cores("50000 100000"), 1);
  EXPECT_EQ(quota_cores("max 100000\n"), std::nullopt);
  EXPECT_EQ(quota_cores("-1 100000"), std::nullopt);
  EXPECT_EQ(quota_cores(""), std::nullopt);
  EXPECT_EQ(quota_cores("100000"), std::nullopt);
}

TEST(CgroupCores, TakesTheSmallestQuotaOnTheWayUp) {
  const testing::TemporaryFolder root;
  std::filesystem::create_directories(root / "job/step");
  write_file_atomic(root / "job/cpu.max", "300000 100000\n");
  write_file_atomic(root / "job/step/cpu.max", "max 100000\n");
  EXPECT_EQ(cgroup_cores(root.path(), "0::/job/step\n"), 3);
  EXPECT_EQ(cgroup_cores(root.path(), "0::/\n"), std::nullopt);
  write_file_atomic(root / "job/step/cpu.max", "100000 100000\n");
  EXPECT_EQ(cgroup_cores(root.path(), "12:pids:/x\n0::/job/step\n"), 1);
}

TEST(CgroupCores, KnowsVersionOne) {
  const testing::TemporaryFolder root;
  std::filesystem::create_directories(root / "cpu");
  write_file_atomic(root / "cpu/cpu.cfs_quota_us", "400000\n");
  write_file_atomic(root / "cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_cores(root.path(), "3:cpu,cpuacct:/\n"), 4);
}

}  // namespace
}  // namespace praxino
