#include "praxino/base/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "base/progress_line.h"
#include "praxino/base/log.h"

namespace praxino {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(FormatDuration, Reads) {
  EXPECT_EQ(format_duration(0.4), "0 s");
  EXPECT_EQ(format_duration(38.2), "38 s");
  EXPECT_EQ(format_duration(59.6), "1:00");
  EXPECT_EQ(format_duration(125), "2:05");
  EXPECT_EQ(format_duration(5025), "1:23:45");
  EXPECT_EQ(format_duration(-1), "?");
  EXPECT_EQ(format_duration(0.0 / 0.0), "?");
}

TEST(ProgressLine, TellsShareRateAndTimeLeft) {
  EXPECT_EQ(progress_line({.what = "training",
                           .done = 120,
                           .total = 400,
                           .rate = 12.5,
                           .elapsed = 10,
                           .detail = "loss 0.12"}),
            "training  120/400  30%  12.5/s  ETA 22 s  loss 0.12");
  EXPECT_EQ(progress_line({.what = "training", .done = 1, .total = 400, .rate = 0.5, .elapsed = 2}),
            "training  1/400  0%  2.0 s each  ETA 13:18");
}

TEST(ProgressLine, FinishedTellsTheTimeTaken) {
  EXPECT_EQ(
      progress_line({.what = "indexing", .done = 400, .total = 400, .rate = 150, .elapsed = 125}),
      "indexing  400/400  100%  150/s  in 2:05");
}

TEST(ProgressLine, WithoutRateOrTotalClaimsNothing) {
  EXPECT_EQ(progress_line({.what = "training", .total = 400}), "training  0/400  0%");
  EXPECT_EQ(progress_line({.what = "reading", .done = 7, .rate = 2}), "reading  7  2.0/s");
}

TEST(FitColumns, CutsCharactersNotBytes) {
  EXPECT_EQ(fit_columns("abc", 5), "abc");
  EXPECT_EQ(fit_columns("abcdef", 3), "abc");
  EXPECT_EQ(fit_columns("äöü", 2), "äö");
  EXPECT_EQ(fit_columns("abc", 0), "");
}

/// What a child process with a terminal of 40 columns as its stderr shows.
std::string shown_on_terminal(const std::function<void()>& action) {
  struct winsize size = {};
  size.ws_col = 40;
  size.ws_row = 10;
  int terminal = -1;
  const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
  if (child == 0) {
    action();
    _exit(0);
  }
  std::string shown;
  char buffer[4096];
  // The read fails with EIO once the child has closed its end.
  for (ssize_t n = 0; (n = read(terminal, buffer, sizeof buffer)) > 0;) {
    shown.append(buffer, static_cast<size_t>(n));
  }
  close(terminal);
  waitpid(child, nullptr, 0);
  return shown;
}

TEST(Progress, KeepsOneLiveLineOnATerminal) {
  const std::string shown = shown_on_terminal([] {
    Progress progress("training", 4);
    for (int i = 1; i <= 4; ++i)
      progress.update(i, "loss 0.5 and much more than fits into this line");
  });
  EXPECT_THAT(shown, HasSubstr("training  1/4  25%"));
  EXPECT_THAT(shown, Not(HasSubstr("2/4")));  // ten times a second at most
  EXPECT_THAT(shown, HasSubstr("\r\x1b[2Ktraining  4/4  100%"));
  EXPECT_THAT(shown, Not(HasSubstr("\n")));
  EXPECT_THAT(shown, Not(HasSubstr("this line")));  // cut to the terminal's width
  EXPECT_THAT(shown, EndsWith("\r\x1b[2K"));
}

TEST(Progress, LogLinesStandAboveTheLiveLine) {
  const std::string shown = shown_on_terminal([] {
    Progress progress("training", 4);
    progress.update(1);
    log::info("saved");
  });
  EXPECT_THAT(shown,
              ::testing::MatchesRegex("training  1/4  25%[^\r]*\r.\\[2K[^\r]* saved[^\r]*\r\n"
                                      "training  1/4  25%[^\r]*\r.\\[2K"));
}

TEST(Progress, ASilentLogHasNoLiveLine) {
  EXPECT_EQ(shown_on_terminal([] {
              log::set_level(log::Level::kWarning);
              Progress progress("training", 4);
              progress.update(4);
            }),
            "");
}

TEST(Progress, ShortWorkPrintsNothingWithoutATerminal) {
  ::testing::internal::CaptureStderr();
  {
    Progress progress("training", 1000);
    for (int i = 0; i <= 1000; ++i) progress.update(i);
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace praxino
