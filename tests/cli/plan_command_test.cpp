#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command.h"

namespace praxino {
namespace {

using testing::CommandResult;
using ::testing::HasSubstr;
using testing::run_command;

const std::string kRun = std::string(PRAXINO_SOURCE_DIR) + "/configs/large/1b.yaml ";

TEST(PlanCommand, PrintsATableForPeople) {
  const CommandResult result = run_command("praxino plan " + kRun);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* word : {"large-1b on h100, 8 ranks", "parameters", "work", "weights", "moments",
                           "gradients, to their owners", "no such folder", "fits: "}) {
    EXPECT_THAT(result.out, HasSubstr(word));
  }
}

TEST(PlanCommand, PrintsJsonAndTakesKeysAndDevices) {
  const CommandResult result =
      run_command("praxino plan " + kRun + "parallel.data=0 --ranks 16 --gpu b200 --json");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("\"device\": \"b200\""));
  EXPECT_THAT(result.out, HasSubstr("\"data\": 16"));
}

TEST(PlanCommand, AnUnknownGpuIsWrongUsage) {
  const CommandResult result = run_command("praxino plan " + kRun + "--gpu gtx");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("known are a100-40, a100, h100, h200, b200"));
}

}  // namespace
}  // namespace praxino
