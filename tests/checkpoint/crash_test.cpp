#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include "praxino/base/random.h"
#include "praxino/checkpoint/store.h"
#include "save_group.h"
#include "support/error_text.h"
#include "support/repetitions.h"
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

/// A whole checkpoint of the last step that was reported, or of the one after it, and nothing
/// beside checkpoints: that step.
int64_t step_that_is_left(const fs::path& folder, int64_t reported) {
  const CheckpointStore store(folder, 2);
  for (const std::string& name : names_in(folder)) {
    EXPECT_TRUE(name.starts_with("step-")) << name << " was not cleaned up";
  }
  const std::vector<int64_t> steps = store.steps();
  for (const int64_t step : steps) EXPECT_TRUE(is_small_state(store.load(step)));
  const int64_t newest = steps.empty() ? -1 : steps.back();
  EXPECT_GE(newest, reported);
  EXPECT_LE(newest, reported + 1);
  return newest;
}

TEST(Crash, AtAnyMomentOfASaveLosesNothingThatWasSaved) {
  const int64_t kills = testing::faults("PRAXINO_KILLS", 20);
  const TemporaryFolder run;
  const fs::path folder = run / "checkpoints";
  CheckpointStore(folder).save(small_state(0));
  Random random(derive_seed(1, "kills", 0));
  int64_t newest = 0;
  for (int64_t i = 0; i < kills; ++i) {
    const int64_t reported = save_until_killed(folder, newest + 1, random.integer(150'000));
    newest = step_that_is_left(folder, reported);
    ASSERT_FALSE(::testing::Test::HasFailure()) << "kill " << i;
  }
}

/// One rank of a group that saves steps from `first` on, each of them twice, until a rank is gone;
/// rank 0 reports. Runs after a fork.
[[noreturn]] void save_together(const fs::path& folder, int64_t first, testing::Wires& wires,
                                int64_t rank, int report) {
  wires.keep(rank);
  const SaveGroup group = wires.group(rank);
  try {
    CheckpointStore store(folder, 2, group);
    for (int64_t step = first;; ++step) {
      for (int repeat = 0; repeat < 2; ++repeat) {
        store.save(testing::share_of(small_state(step), group));
      }
      if (rank == 0 && ::write(report, &step, sizeof step) != sizeof step) ::_exit(1);
    }
  } catch (const Error&) {
    ::_exit(3);  // as a run does whose checkpoint fails
  }
}

/// Which ranks are killed, and when.
struct Kill {
  int64_t microseconds = 0;
  int64_t rank = 0;  // as many as there are ranks: all of them
};

/// Starts save_together on `ranks` processes and kills some. The others must end by themselves.
/// Returns the last step that rank 0 reported.
int64_t save_together_until_killed(const fs::path& folder, int64_t first, int64_t ranks,
                                   const Kill& kill) {
  testing::Wires wires(ranks);
  int ends[2];
  if (::pipe(ends) != 0) return -1;
  std::vector<pid_t> processes;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    processes.push_back(::fork());
    if (processes.back() == 0) save_together(folder, first, wires, rank, ends[1]);
  }
  wires.keep(-1);
  ::close(ends[1]);
  ::usleep(static_cast<useconds_t>(kill.microseconds));
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const bool doomed = kill.rank == ranks || kill.rank == rank;
    if (doomed) ::kill(processes[static_cast<size_t>(rank)], SIGKILL);
  }
  const auto until = std::chrono::steady_clock::now() + std::chrono::minutes(3);
  for (const pid_t process : processes) {
    int status = 0;
    while (::waitpid(process, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > until) ::kill(process, SIGKILL);
      ::usleep(1000);
    }
    EXPECT_LE(std::chrono::steady_clock::now(), until) << "a rank waits for one that is gone";
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 3) << status;
  }
  int64_t last = first - 1;
  for (int64_t step = 0; ::read(ends[0], &step, sizeof step) == sizeof step;) last = step;
  ::close(ends[0]);
  return last;
}

TEST(Crash, OfAnyRankAtAnyMomentOfASharedSaveLosesNothingThatWasSaved) {
  const int64_t kills = testing::faults("PRAXINO_KILLS", 20);
  const TemporaryFolder run;
  const fs::path folder = run / "checkpoints";
  CheckpointStore(folder).save(small_state(0));
  Random random(derive_seed(1, "shared kills", 0));
  int64_t newest = 0;
  for (int64_t i = 0; i < kills; ++i) {
    const int64_t ranks = 2 + random.integer(3);
    const Kill kill{.microseconds = random.integer(200'000), .rank = random.integer(ranks + 1)};
    const int64_t reported = save_together_until_killed(folder, newest + 1, ranks, kill);
    newest = step_that_is_left(folder, reported);
    ASSERT_FALSE(::testing::Test::HasFailure())
        << "kill " << i << " of rank " << kill.rank << " of " << ranks << " after "
        << kill.microseconds << " us";
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
