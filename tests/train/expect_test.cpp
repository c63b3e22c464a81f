#include "praxino/train/expect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> missed(const std::string& log, std::vector<Expectation> lines) {
  const testing::TemporaryFolder folder;
  write_file_atomic(folder / "log.jsonl", log);
  return missed_expectations(lines, folder / "log.jsonl");
}

const char* kLog =
    "{\"step\":1,\"time\":0,\"train/loss\":0.9}\n"
    "{\"step\":2,\"time\":0,\"train/loss\":0.5}\n"
    "{\"step\":2,\"time\":0,\"eval/psnr@1\":20.0}\n"
    "{\"step\":3,\"time\":0,\"train/loss\":null}\n";

TEST(Expect, HoldsWhereTheNewestValueIsBetweenItsBounds) {
  EXPECT_THAT(missed(kLog, {{.metric = "eval/psnr@1", .above = 19},
                            {.metric = "train/loss", .at = 2, .below = 0.6, .above = 0.4}}),
              IsEmpty());
}

TEST(Expect, LooksNoFurtherThanItsStep) {
  EXPECT_THAT(missed(kLog, {{.metric = "train/loss", .at = 1, .below = 0.6}}),
              ElementsAre(HasSubstr("got 0.9")));
}

TEST(Expect, MissesWhatIsNotANumberOrWasNeverMeasured) {
  EXPECT_THAT(
      missed(kLog, {{.metric = "train/loss", .below = 9}, {.metric = "eval/ssim", .above = 0}}),
      ElementsAre(HasSubstr("got nan"),
                  AllOf(HasSubstr("eval/ssim"), HasSubstr("never measured"))));
}

TEST(Expect, BoundsAreExclusive) {
  EXPECT_EQ(
      missed(kLog, {{.metric = "eval/psnr@1", .above = 20}, {.metric = "eval/psnr@1", .below = 20}})
          .size(),
      2U);
}

std::string refusal(Expectation want, bool held_out = true, bool with_actions = true,
                    double max_minutes = 0) {
  RunConfig config;
  config.run.max_minutes = max_minutes;
  config.run.steps = 100;
  config.eval.every = 20;
  config.eval.horizon = 4;
  config.expect = {std::move(want)};
  try {
    check_expectations(config, held_out, with_actions);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(Expect, RefusesWhatIsNeverMeasured) {
  EXPECT_EQ(refusal({.metric = "train/loss", .at = 1}), "");
  EXPECT_EQ(refusal({.metric = "eval/psnr@4/low"}), "");
  EXPECT_EQ(refusal({.metric = "eval/delta_psnr", .at = 20}), "");
  EXPECT_THAT(refusal({.metric = "train/los"}), HasSubstr("did you mean 'train/loss'?"));
  EXPECT_THAT(refusal({.metric = "eval/psnr@8"}), HasSubstr("never measures 'eval/psnr@8'"));
  EXPECT_THAT(refusal({.metric = "eval/delta_psnr"}, true, false), HasSubstr("never measures"));
  EXPECT_THAT(refusal({.metric = "eval/loss"}, false), HasSubstr("nothing is held out"));
  EXPECT_THAT(refusal({.metric = "eval/loss", .at = 19}), HasSubstr("before the first evaluation"));
  EXPECT_EQ(refusal({.metric = "eval/loss", .at = 19}, true, true, 8), "") << "may end before";
}

TEST(Expect, PassesOverTornLines) {
  EXPECT_THAT(missed(std::string(kLog) + "{\"step\":4,\"train/lo",
                     {{.metric = "eval/psnr@1", .above = 19}}),
              IsEmpty());
}

}  // namespace
}  // namespace praxino
