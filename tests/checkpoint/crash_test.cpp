#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "praxino/base/random.h"
#include "praxino/checkpoint/store.h"
#include "small_state.h"
#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::error_text;
using ::testing::HasSubstr;
using testing::is_small_state;
using testing::names_in;
using testing::small_state;
using testing::TemporaryFolder;

/// Saves steps from `first` on, each of them twice, and tells the pipe each step that save()
/// finished. Never returns. Runs after a fork: no operation here is large enough to be parallel.
[[noreturn]] void save_for_ever(const fs::path& folder, int64_t first, int report) {
  CheckpointStore store(folder, 2);
  for (int64_t step = first;; ++step) {
    for (int repeat = 0; repeat < 2; ++repeat) store.save(small_state(step));
    if (::write(report, &step, sizeof step) != sizeof step) ::_exit(1);
  }
}

/// Starts save_for_ever, kills it after `microseconds`, returns the last step that it reported.
int64_t save_until_killed(const fs::path& folder, int64_t first, int64_t microseconds) {
  int ends[2];
  if (::pipe(ends) != 0) return -1;
  const pid_t child = ::fork();
  if (child == 0) save_for_ever(folder, first, ends[1]);
  ::close(ends[1]);
  ::usleep(static_cast<useconds_t>(microseconds));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  int64_t last = first - 1;
  for (int64_t step = 0; ::read(ends[0], &step, sizeof step) == sizeof step;) last = step;
  ::close(ends[0]);
  return last;
}

TEST(Crash, AtAnyMomentOfASaveLosesNothingThatWasSaved) {
  const char* variable = std::getenv("PRAXINO_KILLS");
  const int64_t kills = variable == nullptr ? 20 : std::atoll(variable);
  const TemporaryFolder run;
  const fs::path folder = run / "checkpoints";
  CheckpointStore(folder).save(small_state(0));
  Random random(derive_seed(1, "kills", 0));
  int64_t newest = 0;
  for (int64_t i = 0; i < kills; ++i) {
    const int64_t reported = save_until_killed(folder, newest + 1, random.integer(150'000));
    const CheckpointStore store(folder, 2);
    for (const std::string& name : names_in(folder)) {
      ASSERT_TRUE(name.starts_with("step-")) << name << " was not cleaned up after kill " << i;
    }
    const std::vector<int64_t> steps = store.steps();
    ASSERT_FALSE(steps.empty()) << "kill " << i;
    for (const int64_t step : steps) ASSERT_TRUE(is_small_state(store.load(step))) << "kill " << i;
    ASSERT_GE(steps.back(), reported) << "kill " << i;
    ASSERT_LE(steps.back(), reported + 1) << "kill " << i;
    newest = steps.back();
  }
}

TEST(Crash, IsNotAssumedWhileTheWriterLives) {
  const TemporaryFolder run;
  const fs::path folder = run / "checkpoints";
  CheckpointStore(folder).save(small_state(0));
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) save_for_ever(folder, 1, ends[1]);
  ::close(ends[1]);
  // The writer goes on although others open the same folder all the time: none of its files
  // vanishes.
  int64_t step = 0;
  while (step < 10 && ::read(ends[0], &step, sizeof step) == sizeof step) {
    for (int i = 0; i < 20; ++i) const CheckpointStore reader(folder);
  }
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(ends[0]);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the writer ended by itself at step " << step;
  EXPECT_GE(step, 10);
}

/// What must hold when the disk has no room for a large checkpoint.
void expect_clean_failure(CheckpointStore& store, const fs::path& folder, const std::string& reason,
                          int64_t too_many) {
  const std::string text = error_text([&] { store.save(small_state(2, too_many)); });
  EXPECT_THAT(text, AllOf(HasSubstr("the checkpoint of step 2 was not saved"), HasSubstr(reason),
                          HasSubstr(".safetensors")));
  EXPECT_THAT(names_in(folder), ElementsAre("step-00000001"));
  EXPECT_TRUE(is_small_state(*store.load_newest()));
}

TEST(FullDisk, LeavesThePreviousCheckpointWhenAFileMayNotGrow) {
  const TemporaryFolder run;
  CheckpointStore store(run / "checkpoints");
  store.save(small_state(1));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 100'000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  expect_clean_failure(store, run / "checkpoints", std::strerror(EFBIG), 100'000);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_handler);
  store.save(small_state(2));
  EXPECT_EQ(store.load_newest()->step, 2);
}

TEST(FullDisk, LeavesThePreviousCheckpointOnASmallFileSystem) {
  const TemporaryFolder run;
  if (::mount("none", run.path().c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP() << "a tmpfs cannot be mounted here: " << std::strerror(errno);
  }
  {
    CheckpointStore store(run / "checkpoints");
    store.save(small_state(1));
    expect_clean_failure(store, run / "checkpoints", std::strerror(ENOSPC), 40'000);
    store.save(small_state(2));
    EXPECT_EQ(store.load_newest()->step, 2);
  }
  EXPECT_EQ(::umount(run.path().c_str()), 0);
}

}  // namespace
}  // namespace praxino
