#include "praxino/train/log_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "support/temporary_folder.h"

namespace praxino {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;

/// While it lives, no file of this process grows beyond `bytes`: a full disk.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST(LogFile, GoesOnAtItsEnd) {
  const TemporaryFolder run;
  EXPECT_TRUE(LogFile(run / "x").append("one\n"));
  EXPECT_TRUE(LogFile(run / "x").append("two\n"));
  EXPECT_EQ(read_file(run / "x"), "one\ntwo\n");
}

TEST(LogFile, WarnsOnceAndGoesOnWhenTheDiskIsFull) {
  const TemporaryFolder run;
  LogFile file(run / "x");
  const std::string first(5000, 'x');  // the limit below holds for the captured warning, too
  EXPECT_TRUE(file.append(first));
  ::testing::internal::CaptureStderr();
  {
    const FullDisk full(5010);  // the next record fits in part
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(file.append("a longer record\n"));
  }
  const std::string warnings = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(warnings, HasSubstr(fmt::format("'{}' will miss entries", (run / "x").string())));
  EXPECT_EQ(warnings.find("will miss"), warnings.rfind("will miss"));
  EXPECT_TRUE(file.append("last\n"));
  EXPECT_EQ(read_file(run / "x"), first + "last\n");
}

}  // namespace
}  // namespace praxino
