#include "praxino/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace praxino {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;

/// What `action` prints on stderr.
template <class Action>
std::string printed(Action action) {
  ::testing::internal::CaptureStderr();
  action();
  return ::testing::internal::GetCapturedStderr();
}

TEST(Log, PrintsOneLineWithTheTimeAndTheLevel) {
  EXPECT_THAT(printed([] { log::info("step {}", 12); }), MatchesRegex("[0-9:]{8} step 12\n"));
  EXPECT_THAT(printed([] { log::warning("slow"); }), MatchesRegex("[0-9:]{8} warning: slow\n"));
  EXPECT_THAT(printed([] { log::error("bad"); }), MatchesRegex("[0-9:]{8} error: bad\n"));
}

TEST(Log, LevelsBelowTheChosenOneAreSilent) {
  log::set_level(log::Level::kInfo);
  EXPECT_THAT(printed([] { log::debug("quiet"); }), IsEmpty());
  log::set_level(log::Level::kError);
  EXPECT_THAT(printed([] { log::warning("quiet"); }), IsEmpty());
  EXPECT_THAT(printed([] { log::error("loud"); }), HasSubstr("loud"));
  log::set_level(log::Level::kOff);
  EXPECT_THAT(printed([] { log::error("quiet"); }), IsEmpty());
  log::set_level(log::Level::kInfo);
}

TEST(Log, ControlCharactersCannotForgeALineOrDriveATerminal) {
  EXPECT_EQ(log::escape("a\nb\tc\rd\x1b[31m\x7f"), "a\\nb\\tc\\x0dd\\x1b[31m\\x7f");
  EXPECT_EQ(log::escape("\xc2\x9b"
                        "31m"),
            "\\u009b31m");  // CSI as one character
  EXPECT_EQ(log::escape("Grüße, 世界"), "Grüße, 世界");
  EXPECT_EQ(log::escape(std::string("a\0b", 3)), "a\\x00b");
  EXPECT_THAT(printed([] { log::info("clip\n12:00:00 error: {}", "forged\x1b[2K"); }),
              MatchesRegex("[^\n\x1b]*clip\\\\n12:00:00 error: forged\\\\x1b\\[2K\n"));
}

TEST(Log, FormatDirectivesInsideAMessageAreText) {
  EXPECT_THAT(printed([] { log::write(log::Level::kInfo, "{} %v {"); }), HasSubstr(" {} %v {\n"));
}

/// The level of a process that starts with PRAXINO_LOG=`value`; plus 100 when it complained.
int level_with_environment(const char* value) {
  const pid_t child = fork();
  if (child == 0) {
    // The level is read once a process: start this binary anew.
    setenv("PRAXINO_LOG", value, 1);
    setenv("PRAXINO_TEST_LOG_CHILD", "1", 1);
    execl("/proc/self/exe", "base_test", "--gtest_filter=LogChild.ReportsItsLevel", nullptr);
    _exit(99);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

TEST(LogChild, ReportsItsLevel) {
  if (getenv("PRAXINO_TEST_LOG_CHILD") == nullptr)
    GTEST_SKIP() << "a helper of Log.TheEnvironmentSetsTheLevel";
  ::testing::internal::CaptureStderr();
  const int level = static_cast<int>(log::level());
  const bool complained = !::testing::internal::GetCapturedStderr().empty();
  _exit(level + (complained ? 100 : 0));
}

TEST(Log, TheEnvironmentSetsTheLevel) {
  EXPECT_EQ(level_with_environment("debug"), 0);
  EXPECT_EQ(level_with_environment("info"), 1);
  EXPECT_EQ(level_with_environment("warning"), 2);
  EXPECT_EQ(level_with_environment("error"), 3);
  EXPECT_EQ(level_with_environment("off"), 4);
  EXPECT_EQ(level_with_environment("loud"), 101);
}

}  // namespace
}  // namespace praxino
