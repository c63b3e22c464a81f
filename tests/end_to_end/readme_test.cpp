// The README can be executed: its commands exist, its run file parses, its keys are keys.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <sstream>

#include "praxino/base/file.h"
#include "praxino/config/load.h"
#include "support/command.h"

namespace praxino::testing {
namespace {

/// The contents of all fenced blocks of one language.
std::string blocks(const std::string& page, const std::string& language) {
  std::string text;
  bool inside = false;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      inside = line == "```" + language;
    } else if (inside) {
      text += line + "\n";
    }
  }
  return text;
}

const std::string& readme() {
  static const std::string text =
      read_file(std::filesystem::path(PRAXINO_SOURCE_DIR) / "README.md");
  return text;
}

TEST(Readme, ItsCommandsAndFlagsExist) {
  const std::string shell = blocks(readme(), "sh");
  const std::regex command(R"(praxino ((?:data |config )?[a-z]+)([^\n#]*))");
  int found = 0;
  for (std::sregex_iterator it(shell.begin(), shell.end(), command), end; it != end; ++it) {
    const CommandResult help = run_command("praxino " + (*it)[1].str() + " --help");
    EXPECT_EQ(help.exit_code, 0) << it->str();
    const std::string rest = (*it)[2];
    const std::regex flag("--[a-z-]+");
    for (std::sregex_iterator f(rest.begin(), rest.end(), flag); f != end; ++f) {
      EXPECT_NE(help.out.find(f->str()), std::string::npos) << it->str();
    }
    ++found;
  }
  EXPECT_GE(found, 8);
}

TEST(Readme, ItsScriptsExist) {
  const std::string shell = blocks(readme(), "sh");
  for (const char* script : {"tools/quickstart.sh", "tools/test.sh"}) {
    EXPECT_NE(shell.find(script), std::string::npos) << script;
    EXPECT_TRUE(std::filesystem::exists(std::filesystem::path(PRAXINO_SOURCE_DIR) / script));
  }
}

TEST(Readme, ItsRunFileIsARunFile) {
  const RunConfig config = parse_run(blocks(readme(), "yaml"), "README.md");
  EXPECT_EQ(config.run.name, "my-run");
  EXPECT_EQ(config.expect.size(), 1U);
}

TEST(Readme, TheKeysItNamesAreKeys) {
  const std::vector<std::string> keys = all_keys();
  const std::regex named(
      R"(\b(run|data|model|optim|objective|checkpoint|eval|tokenizer)\.([a-z_]+)=)");
  int found = 0;
  for (std::sregex_iterator it(readme().begin(), readme().end(), named), end; it != end;
       ++it, ++found) {
    const std::string key = (*it)[1].str() + "." + (*it)[2].str();
    EXPECT_NE(std::find(keys.begin(), keys.end(), key), keys.end()) << key;
  }
  EXPECT_GE(found, 1);
}

}  // namespace
}  // namespace praxino::testing
