#include "praxino/base/open_files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>

namespace praxino {
namespace {

// In a process of its own: a hard limit cannot be raised again.
void with_limits(rlim_t soft, rlim_t hard, int64_t wanted, int64_t reached) {
  const rlimit before{.rlim_cur = soft, .rlim_max = hard};
  if (setrlimit(RLIMIT_NOFILE, &before) != 0) std::exit(2);
  if (allow_open_files(wanted) != reached) std::exit(3);
  rlimit after = {};
  getrlimit(RLIMIT_NOFILE, &after);
  std::exit(after.rlim_cur == static_cast<rlim_t>(reached) && after.rlim_max == hard ? 0 : 4);
}

TEST(OpenFiles, AreAllowedUpToTheHardLimitAndNeverFewer) {
  EXPECT_EXIT(with_limits(50, 90, 70, 70), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(with_limits(50, 90, 1000, 90), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(with_limits(50, 90, 20, 50), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace praxino
