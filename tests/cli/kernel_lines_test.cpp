#include "cli/kernel_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace praxino {
namespace {

using ops::KernelFamily;
using ops::KernelState;
using ops::KernelStatus;
using ::testing::HasSubstr;
using ::testing::Not;

KernelStatus row(std::string_view name, at::ScalarType type, KernelState state) {
  return {.name = name,
          .op = "swiglu",
          .family = KernelFamily::kMlp,
          .tier = "portable",
          .type = type,
          .state = state,
          .reason = {}};
}

TEST(KernelLines, SayAVerdictOnceWhereTypesShareIt) {
  const auto lines = kernel_lines({row("swiglu", at::kFloat, KernelState::kNoDevice),
                                   row("swiglu", at::kBFloat16, KernelState::kNoDevice),
                                   row("other", at::kBFloat16, KernelState::kOff)},
                                  {});
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0], "swiglu                       mlp        portable  no device");
  EXPECT_EQ(lines[1], "other                        mlp        portable  off");
}

TEST(KernelLines, SayWhatWasFoundForEachType) {
  KernelStatus good = row("swiglu", at::kFloat, KernelState::kAgrees);
  good.error = 2e-6;
  KernelStatus bad = row("swiglu", at::kBFloat16, KernelState::kTurnedDown);
  bad.reason = "the result is off by nan";
  const auto lines = kernel_lines({good, bad}, {});
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_THAT(lines[0], HasSubstr("float32 agrees (2.0e-06), bfloat16 turned down: the result is "
                                  "off by nan"));
}

TEST(KernelLines, SayHowFastItRanAndNothingOfOtherKernels) {
  const bench::Times times{.median = 1e-3, .low = 1e-3, .high = 1e-3, .repetitions = 9};
  const bench::CaseResult result{
      .name = "swiglu_64",
      .op = "swiglu",
      .forward = {.bytes = 1e9},
      .backward = {.bytes = 1, .flop = 2.5e11},
      .sides = {
          {.name = "praxino", .by = "kernel (portable)", .forward = times, .backward = times}}};
  bench::OpsReport measured{.ceilings = {.copy = 2e12, .product = 5e14}, .cases = {result}};
  const std::vector<KernelStatus> table = {row("swiglu", at::kFloat, KernelState::kAgrees)};
  EXPECT_THAT(kernel_lines(table, measured)[0],
              HasSubstr(", swiglu_64: 1000 GB/s (50 %) and 250 TFLOP/s (50 %)"));
  const std::vector<KernelStatus> two = {row("swiglu", at::kFloat, KernelState::kAgrees),
                                         row("swiglu_long", at::kFloat, KernelState::kAgrees)};
  EXPECT_THAT(kernel_lines(two, measured)[0], HasSubstr("GB/s"));
  EXPECT_THAT(kernel_lines(two, measured)[1], Not(HasSubstr("GB/s"))) << "the first one ran";
  const std::vector<KernelStatus> other = {row("swiglu", at::kFloat, KernelState::kTurnedDown),
                                           row("swiglu_long", at::kFloat, KernelState::kAgrees)};
  EXPECT_THAT(kernel_lines(other, measured)[1], HasSubstr("GB/s"));
  measured.cases[0].sides[0].by = "kernel (hopper)";
  EXPECT_THAT(kernel_lines(table, measured)[0], Not(HasSubstr("GB/s")));
}

}  // namespace
}  // namespace praxino
