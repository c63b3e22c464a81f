#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/command.h"

namespace praxino {
namespace {

using testing::CommandResult;
using ::testing::HasSubstr;
using testing::run_command;

const std::string kSource = PRAXINO_SOURCE_DIR;
const std::string kBench = "praxino bench train " + kSource +
                           "/configs/quickstart.yaml data.path=" + kSource +
                           "/tests/data/freedoom data.size='[24, 32]' data.clip_frames=4 "
                           "data.batch=2 model.width=32 model.depth=1 model.heads=2 --steps 3 "
                           "--warm-up 1 ";

TEST(BenchTrainCommand, PrintsATableAndKeepsTheFigures) {
  const CommandResult result = run_command("cd \"$(mktemp -d)\" && " + kBench +
                                           "--json figures.json && cat figures.json && ls");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* word : {"step ", "tokens/s", "MFU", "measured in this process", "loader",
                           "memory", "\"step_seconds\": "}) {
    EXPECT_THAT(result.out, HasSubstr(word));
  }
  EXPECT_THAT(result.out, ::testing::Not(HasSubstr("runs")));
}

TEST(BenchTrainCommand, MeasuresRanksThatItStarts) {
  const CommandResult result = run_command("cd \"$(mktemp -d)\" && " + kBench +
                                           "--ranks 2 --compare --json figures.json && "
                                           "cat figures.json && ls");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* word : {"2 ranks, each on cpu", "mesh ", "exposed ", "weak scaling",
                           "\"exposed_by_group\": ", "joined "}) {
    EXPECT_THAT(result.out, HasSubstr(word));
  }
  EXPECT_THAT(result.err, HasSubstr("2 ranks (--ranks)"));
  EXPECT_THAT(result.out, ::testing::Not(HasSubstr("runs")));
}

TEST(BenchTrainCommand, NoStepsOrRanksWithoutClipsAreWrongUsage) {
  EXPECT_EQ(run_command(kBench + "--steps 0").exit_code, 2);
  const CommandResult result = run_command(kBench + "--ranks 3");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("data.batch is 2, which 3 data ranks cannot share"));
}

}  // namespace
}  // namespace praxino
