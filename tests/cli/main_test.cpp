// The frame of the command line: help, exit codes, one line for everything that goes wrong.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "praxino/base/version.h"
#include "support/command.h"

namespace praxino {
namespace {

using testing::CommandResult;
using ::testing::HasSubstr;
using testing::run_command;
using ::testing::StartsWith;

void expect_one_line(const std::string& text) {
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  EXPECT_THAT(text, StartsWith("praxino: "));
}

void expect_usage_error(const std::string& line, const std::string& says) {
  const CommandResult result = run_command(line);
  EXPECT_EQ(result.exit_code, 2) << line;
  EXPECT_EQ(result.out, "") << line;
  expect_one_line(result.err);
  EXPECT_THAT(result.err, HasSubstr(says));
}

TEST(CommandLine, HelpHasOneLineForEachCommand) {
  const CommandResult help = run_command("praxino --help");
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_EQ(help.err, "");
  for (const char* command :
       {"train", "eval", "rollout", "data", "bench", "plan", "config", "doctor", "completion"}) {
    const size_t at = help.out.find(std::string("\n  ") + command + " ");
    ASSERT_NE(at, std::string::npos) << command << " is missing in\n" << help.out;
    EXPECT_LE(help.out.find('\n', at + 1) - at, 100u) << command;
  }
}

TEST(CommandLine, EveryCommandExplainsItself) {
  for (const char* command : {"bench", "bench ops", "bench train", "plan", "config", "config show",
                              "config keys", "doctor", "completion bash"}) {
    const CommandResult help = run_command(std::string("praxino ") + command + " --help");
    EXPECT_EQ(help.exit_code, 0) << command;
    EXPECT_THAT(help.out, HasSubstr(std::string("Usage: praxino ") + command)) << command;
  }
}

TEST(CommandLine, SaysItsVersion) {
  const CommandResult result = run_command("praxino --version");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "praxino " + std::string(version()) + "\n");
}

TEST(CommandLine, WithoutACommandItShowsTheHelpAndFails) {
  const CommandResult result = run_command("praxino");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("doctor"));
}

TEST(CommandLine, SuggestsTheCommandThatWasMeant) {
  expect_usage_error("praxino docter", "unknown command 'docter', did you mean 'doctor'?");
  expect_usage_error("praxino config shwo x.yaml", "unknown command 'shwo', did you mean 'show'?");
}

TEST(CommandLine, DoesNotSuggestWhatIsFarAway) {
  const CommandResult result = run_command("praxino zzzzzz");
  EXPECT_THAT(result.err, ::testing::Not(HasSubstr("did you mean")));
  EXPECT_THAT(result.err, HasSubstr("see praxino --help"));
}

TEST(CommandLine, SuggestsTheFlagThatWasMeant) {
  expect_usage_error("praxino doctor --hepl", "unknown flag '--hepl', did you mean '--help'?");
}

TEST(CommandLine, PointsToTheHelpOfTheInnermostCommand) {
  expect_usage_error("praxino config show", "see praxino config show --help");
  expect_usage_error("praxino doctor extra",
                     "unexpected argument 'extra'; see praxino doctor --help");
  expect_usage_error("praxino config", "see praxino config --help");
}

TEST(CommandLine, AControlCharacterInAnArgumentCannotForgeALine) {
  expect_usage_error("praxino \"$(printf 'a\\nb')\"", "unknown command");
}

TEST(CommandLine, OutputThatCannotBeWrittenIsAnError) {
  const CommandResult result = run_command("praxino config keys >/dev/full");
  EXPECT_EQ(result.exit_code, 1);
  expect_one_line(result.err);
  EXPECT_THAT(result.err, HasSubstr("No space left"));
}

}  // namespace
}  // namespace praxino
