// The script is tested with bash itself: what would TAB offer here?

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "praxino/config/load.h"
#include "support/command.h"

namespace praxino {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

/// The candidates after these words, the last of which is being typed. bash hands over '=' as a
/// word.
std::vector<std::string> complete(const std::vector<std::string>& words) {
  std::string script = "eval \"$(praxino completion bash)\"; COMP_WORDS=(";
  for (const std::string& word : words) script += " '" + word + "'";
  script += " ); COMP_CWORD=" + std::to_string(words.size() - 1);
  script += "; _praxino; for word in \"${COMPREPLY[@]}\"; do echo \"$word\"; done";
  std::string quoted;
  for (const char c : script) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  const testing::CommandResult result = testing::run_command("bash -euc '" + quoted + "'");
  EXPECT_EQ(result.err, "");
  std::istringstream lines(result.out);
  std::vector<std::string> candidates;
  for (std::string line; std::getline(lines, line);) candidates.push_back(line);
  return candidates;
}

TEST(Completion, OffersTheCommands) {
  EXPECT_THAT(complete({"praxino", ""}), Contains("doctor"));
  EXPECT_THAT(complete({"praxino", "doc"}), ElementsAre("doctor"));
}

TEST(Completion, OffersTheCommandsBelowACommand) {
  EXPECT_THAT(complete({"praxino", "config", ""}), UnorderedElementsAre("show", "keys"));
}

TEST(Completion, OffersTheFlagsOfTheCommand) {
  EXPECT_THAT(complete({"praxino", "--v"}), ElementsAre("--version"));
  EXPECT_THAT(complete({"praxino", "config", "show", "--"}), ElementsAre("--help"));
}

TEST(Completion, OffersFilesFirstAndThenRunKeys) {
  const std::string folder = PRAXINO_SOURCE_DIR;
  EXPECT_THAT(complete({"praxino", "config", "show", folder + "/CMakeL"}),
              ElementsAre(folder + "/CMakeLists.txt"));
  EXPECT_THAT(complete({"praxino", "config", "show", "run.yaml", "optim.lr"}),
              ElementsAre("optim.lr="));
}

TEST(Completion, KnowsEveryKey) {
  const std::vector<std::string> offered = complete({"praxino", "config", "show", "run.yaml", ""});
  for (const std::string& key : all_keys()) EXPECT_THAT(offered, Contains(key + "="));
}

TEST(Completion, OffersTheChoicesOfAKey) {
  EXPECT_THAT(complete({"praxino", "config", "show", "run.yaml", "optim.kind", "="}),
              UnorderedElementsAre("muon", "adamw"));
  EXPECT_THAT(complete({"praxino", "config", "show", "run.yaml", "optim.kind", "=", "m"}),
              ElementsAre("muon"));
  EXPECT_THAT(complete({"praxino", "config", "show", "run.yaml", "objective.ramp_weight", "="}),
              UnorderedElementsAre("true", "false"));
}

TEST(Completion, OffersNothingWhereNothingFits) {
  EXPECT_THAT(complete({"praxino", "config", "show", "run.yaml", "optim.lr", "=", ""}), IsEmpty());
  EXPECT_THAT(complete({"praxino", "zzz"}), IsEmpty());
}

TEST(Completion, DoesNotOfferKeysToCommandsThatTakeNone) {
  EXPECT_THAT(complete({"praxino", "doctor", "x", "optim"}), Each(Not(StartsWith("optim."))));
}

}  // namespace
}  // namespace praxino
