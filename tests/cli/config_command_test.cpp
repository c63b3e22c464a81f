#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "praxino/config/load.h"
#include "support/command.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

using testing::CommandResult;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::run_command;

class ConfigCommand : public ::testing::Test {
 protected:
  CommandResult show(const std::string& yaml, const std::string& overrides = "") {
    std::ofstream(folder_ / "run.yaml") << yaml;
    return run_command("cd '" + folder_.path().string() + "' && praxino config show run.yaml " +
                       overrides);
  }
  testing::TemporaryFolder folder_;
};

constexpr const char* kRun = "run: {name: tiny}\ndata: {path: clips}\n";

TEST_F(ConfigCommand, ShowsTheResolvedRunThatReadsBack) {
  const CommandResult result = show(kRun);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const RunConfig back = parse_run(result.out, "shown");
  EXPECT_EQ(back.run.name, "tiny");
  EXPECT_EQ(to_yaml(back), result.out);
}

TEST_F(ConfigCommand, OverridesWinInTheirOrder) {
  const CommandResult result = show(kRun, "optim.lr=0.5 'data.size=[32, 48]' optim.lr=0.25");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const RunConfig run = parse_run(result.out, "shown");
  EXPECT_EQ(run.optim.lr, 0.25);
  EXPECT_EQ(run.data.size[0], 32);
  EXPECT_EQ(run.data.size[1], 48);
}

TEST_F(ConfigCommand, AWrongKeyIsWrongUsage) {
  const CommandResult result = show("run: {nmae: tiny}\n");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("run.yaml"));
  EXPECT_THAT(result.err, HasSubstr("name"));
  EXPECT_EQ(result.out, "");
}

TEST_F(ConfigCommand, AMissingFileIsNamed) {
  const CommandResult result = run_command("praxino config show /nowhere/run.yaml");
  EXPECT_NE(result.exit_code, 0);
  EXPECT_THAT(result.err, HasSubstr("/nowhere/run.yaml"));
}

TEST_F(ConfigCommand, KeysListsEveryKey) {
  const CommandResult result = run_command("praxino config keys");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  for (const std::string& key : all_keys()) EXPECT_THAT(result.out, HasSubstr(key));
}

TEST_F(ConfigCommand, KeysCanBeFiltered) {
  const CommandResult result = run_command("praxino config keys warmup");
  EXPECT_THAT(result.out, HasSubstr("optim.warmup"));
  EXPECT_THAT(result.out, Not(HasSubstr("model.width")));
  const CommandResult nothing = run_command("praxino config keys no-such-key");
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_THAT(nothing.err, HasSubstr("no-such-key"));
}

}  // namespace
}  // namespace praxino
