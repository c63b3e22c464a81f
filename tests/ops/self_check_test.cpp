#include "ops/self_check.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include "ops/check_watch.h"
#include "praxino/base/error.h"
#include "support/nan_memory.h"
#include "support/tensors.h"

namespace praxino::ops {
namespace {

using ::testing::HasSubstr;
using Inputs = std::vector<at::Tensor>;

at::Tensor formula(const Inputs& in) { return in[0] * in[1].square(); }

SelfCheck check_of(Operation kernel) {
  const at::TensorOptions floats(at::kFloat);
  return {std::move(kernel), formula, {{wave({4, 5}, 0, floats), wave({5}, 1, floats)}}, 1e-4};
}

std::string difference(Operation kernel) { return compare(check_of(std::move(kernel))).difference; }

TEST(SelfCheck, FindsNoDifferenceInWhatIsEqual) {
  EXPECT_EQ(difference(formula), "");
  const at::NoGradGuard off;
  EXPECT_EQ(difference(formula), "") << "gradients are checked in a rollout, too";
}

TEST(SelfCheck, FindsAWrongResult) {
  EXPECT_THAT(difference([](const Inputs& in) { return formula(in) * 1.01; }),
              HasSubstr("the result is off by 0.01"));
  EXPECT_THAT(difference([](const Inputs& in) {
                const at::Tensor y = formula(in);
                return at::where(y == y.max(), y / 0 * 0, y);
              }),
              HasSubstr("the result is off by nan"));
  EXPECT_THAT(difference([](const Inputs& in) { return formula(in).flatten(); }),
              HasSubstr("another shape"));
}

TEST(SelfCheck, FindsAWrongGradient) {
  EXPECT_THAT(
      difference([](const Inputs& in) { return formula(in) + 0.1 * (in[1] - in[1].detach()); }),
      HasSubstr("the gradient of input 1 is off by"));
}

TEST(SelfCheck, TakesAnExceptionForADifference) {
  EXPECT_EQ(difference([](const Inputs&) -> at::Tensor {
              throw std::runtime_error("no such kernel\nbacktrace");
            }),
            "no such kernel");
}

TEST(SelfCheck, TellsTheLargestErrorOfAgreement) {
  const Finding close = compare(check_of([](const Inputs& in) { return formula(in) * 1.00005; }));
  EXPECT_TRUE(close.agrees()) << close.difference;
  EXPECT_NEAR(close.error, 5e-5, 1e-6);
  EXPECT_GE(close.seconds, 0);
}

TEST(SelfCheck, WantsWholeNumbersToBeEqual) {
  const auto rounded = [](double factor) {
    return [factor](const Inputs& in) { return (in[0] * factor).to(at::kLong); };
  };
  SelfCheck check = check_of(rounded(1000));
  check.formula = rounded(1000);
  EXPECT_EQ(compare(check).difference, "") << "without a gradient";
  check.kernel = [&](const Inputs& in) {
    const at::Tensor n = rounded(1e9)(in);
    return at::where(n == n.max(), n + 1, n);
  };
  check.formula = rounded(1e9);
  EXPECT_THAT(compare(check).difference, HasSubstr("the result is off by"));
}

TEST(SelfCheck, TakesInputsWithoutGradients) {
  const at::Tensor order = at::arange(4, at::kLong);
  const auto select = [](double factor) {
    return [factor](const Inputs& in) { return in[0].index_select(0, in[1]) * factor; };
  };
  SelfCheck check = check_of(select(1));
  check.cases = {{wave({4, 5}, 0, at::TensorOptions(at::kFloat)), order}};
  check.formula = select(1);
  EXPECT_EQ(compare(check).difference, "");
  check.kernel = [&](const Inputs& in) { return select(1)({in[0].detach(), in[1]}); };
  EXPECT_EQ(compare(check).difference, "the gradient of input 0 is missing");
}

TEST(SelfCheck, GivesBothSidesTheSameInputsWhereAKernelWorksInPlace) {
  const auto doubled = [](const Inputs& in) { return in[0].detach().mul_(2); };
  SelfCheck check = check_of(doubled);
  check.formula = doubled;
  EXPECT_EQ(compare(check).difference, "");
}

TEST(Trust, IsDecidedOnceForADeviceAndType) {
  int checks = 0;
  const auto right = [&](at::TensorOptions) {
    ++checks;
    return check_of(formula);
  };
  const auto wrong = [&](at::TensorOptions) {
    ++checks;
    return check_of([](const Inputs& in) { return formula(in) * 2; });
  };
  Trust trust("product", "norm");
  EXPECT_FALSE(trust.finding(at::kCPU, at::kFloat));
  for (int use = 0; use < 3; ++use) EXPECT_TRUE(trust.holds(at::kCPU, at::kFloat, right));
  EXPECT_EQ(checks, 1);
  ASSERT_TRUE(trust.finding(at::kCPU, at::kFloat));
  EXPECT_TRUE(trust.finding(at::kCPU, at::kFloat)->agrees());
  ::testing::internal::CaptureStderr();
  for (int use = 0; use < 3; ++use) EXPECT_FALSE(trust.holds(at::kCPU, at::kBFloat16, wrong));
  EXPECT_EQ(checks, 2);
  EXPECT_FALSE(trust.finding(at::kCPU, at::kBFloat16)->agrees());
  const std::string warning = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(warning, HasSubstr("the kernel of product (BFloat16) on cpu does not agree"));
  EXPECT_EQ(warning.find("product"), warning.rfind("product"));
}

TEST(CheckWatch, EndsAProcessThatWaitsForAKernelThatHangs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto hang = [] {
    const CheckWatch watch("the kernel of swiglu (Float) on cuda:0", "mlp",
                           {.slow = 0.05, .end = 0.2});
    for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
  };
  EXPECT_EXIT(hang(), ::testing::ExitedWithCode(1),
              "swiglu \\(Float\\) on cuda:0 has not come back .* for 0.05 s(.|\n)*"
              "for 0.2 s: it hangs.*kernels.mlp=off");
}

TEST(CheckWatch, SaysNothingOfAKernelThatComesBack) {
  ::testing::internal::CaptureStderr();
  { const CheckWatch watch("a kernel", "mlp", {.slow = 60, .end = 60}); }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(SelfCheck, TellsADeviceThatAKernelHasBroken) {
  EXPECT_NO_THROW(require_alive(at::kCPU, "a kernel", "mlp"));
  try {
    require_alive(at::kMeta, "the kernel of swiglu (Float) on meta", "mlp");  // has no numbers
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("the kernel of swiglu (Float) on meta has left the device "
                                        "unusable ("));
    EXPECT_THAT(error.what(), HasSubstr("kernels.mlp=off"));
  }
}

TEST(NanMemory, MarksWhatNobodyHasWritten) {
  const testing::NanMemory memory;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kDouble})
    EXPECT_TRUE(at::empty({1000}, type).isnan().all().item<bool>());
}

TEST(SameBits, TellZerosApartAndNoNanFromItself) {
  const at::Tensor zero = at::zeros({3}), nan = zero / 0;
  EXPECT_FALSE(testing::same_bits(zero, -zero));
  EXPECT_TRUE(testing::same_bits(nan, nan));
  EXPECT_TRUE(testing::same_bits(at::ones({2, 3}).t(), at::ones({3, 2})));
  EXPECT_FALSE(testing::same_bits(zero, zero.to(at::kDouble)));
}

}  // namespace
}  // namespace praxino::ops
