#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "support/command.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

using ::testing::HasSubstr;
using testing::run_command;

TEST(BenchOps, PrintsATableAndWritesJson) {
  const testing::TemporaryFolder folder;
  const std::string file = (folder / "ops.json").string();
  const auto result = run_command(
      "praxino bench ops --small --device cpu --type fp32 --repetitions 3 --only norm_modulate "
      "--json "
      "'" +
      file + "'");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("norm_modulate_1024"));
  EXPECT_THAT(result.out, HasSubstr("praxino: loops"));
  EXPECT_THAT(result.out, HasSubstr("matrix product"));
  std::ifstream stream(file);
  const auto json = nlohmann::json::parse(stream);
  EXPECT_EQ(json["cases"].size(), 2U);
}

TEST(BenchOps, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(run_command("praxino bench").exit_code, 2);
  EXPECT_EQ(run_command("praxino bench ops --type int8").exit_code, 2);
  const auto result = run_command("praxino bench ops --small --only nothing");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("no case has 'nothing' in its name"));
}

}  // namespace
}  // namespace praxino
