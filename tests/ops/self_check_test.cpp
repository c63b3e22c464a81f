#include "ops/self_check.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/where.h>
#include <gmock/gmock.h>

#include <stdexcept>

namespace praxino::ops {
namespace {

using ::testing::HasSubstr;
using Inputs = std::vector<at::Tensor>;

at::Tensor formula(const Inputs& in) { return in[0] * in[1].square(); }

SelfCheck check_of(Operation kernel) {
  const at::TensorOptions floats(at::kFloat);
  return {std::move(kernel), formula, {{wave({4, 5}, 0, floats), wave({5}, 1, floats)}}, 1e-4};
}

TEST(SelfCheck, FindsNoDifferenceInWhatIsEqual) {
  EXPECT_EQ(difference(check_of(formula)), "");
  const at::NoGradGuard off;
  EXPECT_EQ(difference(check_of(formula)), "") << "gradients are checked in a rollout, too";
}

TEST(SelfCheck, FindsAWrongResult) {
  EXPECT_THAT(difference(check_of([](const Inputs& in) { return formula(in) * 1.01; })),
              HasSubstr("the result is off by 0.01"));
  EXPECT_THAT(difference(check_of([](const Inputs& in) {
                const at::Tensor y = formula(in);
                return at::where(y == y.max(), y / 0 * 0, y);
              })),
              HasSubstr("the result is off by nan"));
  EXPECT_THAT(difference(check_of([](const Inputs& in) { return formula(in).flatten(); })),
              HasSubstr("another shape"));
}

TEST(SelfCheck, FindsAWrongGradient) {
  EXPECT_THAT(difference(check_of(
                  [](const Inputs& in) { return formula(in) + 0.1 * (in[1] - in[1].detach()); })),
              HasSubstr("the gradient of input 1 is off by"));
}

TEST(SelfCheck, TakesAnExceptionForADifference) {
  EXPECT_EQ(difference(check_of([](const Inputs&) -> at::Tensor {
              throw std::runtime_error("no such kernel\nbacktrace");
            })),
            "no such kernel");
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
  Trust trust("product");
  for (int use = 0; use < 3; ++use) EXPECT_TRUE(trust.holds(at::kCPU, at::kFloat, right));
  EXPECT_EQ(checks, 1);
  ::testing::internal::CaptureStderr();
  for (int use = 0; use < 3; ++use) EXPECT_FALSE(trust.holds(at::kCPU, at::kBFloat16, wrong));
  EXPECT_EQ(checks, 2);
  const std::string warning = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(warning, HasSubstr("the kernel of product (BFloat16) does not agree"));
  EXPECT_EQ(warning.find("product"), warning.rfind("product"));
}

}  // namespace
}  // namespace praxino::ops
