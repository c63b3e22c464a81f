#include "train/run_lock.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "support/error_text.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

TEST(RunLock, RefusesASecondAndNamesTheFirst) {
  const testing::TemporaryFolder folder;
  const RunLock first(folder / "run");
  EXPECT_THAT(testing::error_text([&] { RunLock second(folder / "run"); }),
              ::testing::HasSubstr("is being trained by process " + std::to_string(getpid())));
}

TEST(RunLock, IsFreeAgainAfterwardsAndFollowsARename) {
  const testing::TemporaryFolder folder;
  { const RunLock first(folder / "run"); }
  const RunLock second(folder / "run");
  std::filesystem::rename(folder / "run", folder / "old");
  EXPECT_NE(testing::error_text([&] { RunLock third(folder / "old"); }), "");
  const RunLock fresh(folder / "run");
}

}  // namespace
}  // namespace praxino
