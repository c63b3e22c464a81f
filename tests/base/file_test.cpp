#include "praxino/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

using testing::error_text;
using ::testing::HasSubstr;

class File : public ::testing::Test {
 protected:
  std::filesystem::path path(std::string_view name) const { return folder_ / name; }
  size_t entries() const {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(folder_.path()), {}));
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(File, AtomicWriteReplacesTheOldBytesAndLeavesNothingElse) {
  write_file_atomic(path("a"), "old");
  const std::string bytes("new\0bytes", 9);
  write_file_atomic(path("a"), bytes);
  EXPECT_EQ(read_file(path("a")), bytes);
  EXPECT_EQ(entries(), 1u);
}

TEST_F(File, AtomicWriteIntoAMissingFolderNamesThePath) {
  const std::string text = error_text([&] { write_file_atomic(path("no/such/file"), "x"); });
  EXPECT_THAT(text, HasSubstr("no/such/file"));
  EXPECT_THAT(text, HasSubstr("No such file or directory"));
}

TEST_F(File, AtomicWriteOverAFolderFailsAndLeavesNothingElse) {
  std::filesystem::create_directory(path("folder"));
  EXPECT_THAT(error_text([&] { write_file_atomic(path("folder"), "x"); }),
              HasSubstr("Is a directory"));
  EXPECT_EQ(entries(), 1u);
}

/// In a child process whose files may not grow beyond `limit` bytes (as on a full disk, write()
/// fails part-way): 0 when `action` threw praxino::Error.
int exit_code_with_file_limit(rlim_t limit, const std::function<void()>& action) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {limit, limit};
    if (setrlimit(RLIMIT_FSIZE, &small) != 0) _exit(3);
    _exit(error_text(action).starts_with("cannot write") ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(File, AtomicWriteLeavesTheOldBytesWhenTheDiskIsFull) {
  write_file_atomic(path("a"), "old");
  const std::string large(100'000, 'x');
  EXPECT_EQ(exit_code_with_file_limit(4096, [&] { write_file_atomic(path("a"), large); }), 0);
  EXPECT_EQ(read_file(path("a")), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(File, AFullDeviceIsReported) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  EXPECT_THAT(error_text([] {
                OutputFile file("/dev/full");
                file.write("x");
                file.close();
              }),
              HasSubstr("'/dev/full': No space left on device"));
}

TEST_F(File, OutputFileAppendsAndTruncates) {
  const auto put = [&](std::string_view text, OutputFile::Mode mode) {
    OutputFile first(path("log"), mode);
    OutputFile file = std::move(first);
    file.write(text);
    file.sync();
    file.close();
    return read_file(path("log"));
  };
  EXPECT_EQ(put("one", OutputFile::Mode::kTruncate), "one");
  EXPECT_EQ(put("two", OutputFile::Mode::kAppend), "onetwo");
  EXPECT_EQ(put("three", OutputFile::Mode::kTruncate), "three");
}

TEST_F(File, ReadRefusesMoreThanTheLimitAndReadsExactlyTheLimit) {
  write_file_atomic(path("a"), "12345");
  EXPECT_EQ(read_file(path("a"), 5), "12345");
  EXPECT_THAT(error_text([&] { read_file(path("a"), 4); }), HasSubstr("larger than 4 bytes"));
}

TEST_F(File, ReadFollowsTheEndOfTheFileNotItsStatedSize) {
  EXPECT_THAT(read_file("/proc/self/status"), HasSubstr("Pid:"));  // stat says 0 bytes
}

TEST_F(File, ReadAndMapRefuseWhatIsNotARegularFile) {
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  const auto expect_refused = [](const std::filesystem::path& what, std::string_view reason) {
    EXPECT_THAT(error_text([&] { read_file(what); }), HasSubstr(reason));
    EXPECT_THAT(error_text([&] { MappedFile file(what); }), HasSubstr(reason));
  };
  expect_refused(path("fifo"), "not a regular file");
  expect_refused(path("."), "a folder");
  expect_refused(path("missing"), "No such file");
}

TEST_F(File, AScratchFolderBeginsEmptyAndIsRemovedUnlessRenamed) {
  write_file_atomic(path("file"), "in the way");
  {
    ScratchFolder first(path("a/b"));
    write_file_atomic(first.path() / "left", "over");
    const ScratchFolder again(path("a/b"));
    EXPECT_TRUE(std::filesystem::is_empty(again.path()));
    write_file_atomic(again.path() / "result", "kept");
    std::filesystem::rename(again.path(), path("done"));
    const ScratchFolder dropped(path("c"));
  }
  EXPECT_FALSE(std::filesystem::exists(path("a/b")));
  EXPECT_FALSE(std::filesystem::exists(path("c")));
  EXPECT_EQ(read_file(path("done/result")), "kept");
  EXPECT_THAT(error_text([&] { ScratchFolder below(path("file/c")); }), HasSubstr("cannot create"));
}

TEST_F(File, ALockedPathHasOneOwnerAtATime) {
  std::filesystem::create_directory(path("folder"));
  {
    const FileLock first(path("folder"), FileLock::Mode::kTry);
    EXPECT_TRUE(first.held());
    EXPECT_FALSE(FileLock(path("folder"), FileLock::Mode::kTry).held());
    std::filesystem::rename(path("folder"), path("renamed"));
    EXPECT_FALSE(FileLock(path("renamed"), FileLock::Mode::kTry).held());
  }
  EXPECT_TRUE(FileLock(path("renamed"), FileLock::Mode::kTry).held());
}

TEST_F(File, MappedFileShowsTheBytes) {
  write_file_atomic(path("a"), "mapped");
  MappedFile first(path("a"));
  const MappedFile file = std::move(first);
  ASSERT_EQ(file.bytes().size(), 6u);
  EXPECT_EQ(static_cast<char>(file.bytes()[5]), 'd');
  write_file_atomic(path("empty"), "");
  EXPECT_TRUE(MappedFile(path("empty")).bytes().empty());
}

}  // namespace
}  // namespace praxino
