// The fused operations by the kernels that a GPU runs, on the CPU, under the rule that the tests on
// a GPU apply; and that rule itself, which must see a planted error.
#include "ops/fused_cases.h"
#include "ops/on_cpu.h"

namespace praxino::ops {
namespace {

using testing::keeps_two_fold;
using testing::TwoFold;
using testing::within_two_fold;

class FusedOnCpu : public OnCpu, public ::testing::WithParamInterface<at::ScalarType> {
 protected:
  const FusedCases cases_{[](const at::Tensor& x) { return x; }, GetParam()};
};

// A row by lanes of a warp, by any number of columns, by a block.
const FusedShape kShapes[] = {{1, 1, 1, 4}, {2, 2, 5, 16}, {1, 2, 7, 33}, {1, 1, 19, 264}};

TEST_P(FusedOnCpu, RowsKeepTheTwoFoldRule) {
  for (const FusedShape& s : kShapes) {
    SCOPED_TRACE(std::to_string(s.d) + " wide");
    EXPECT_TRUE(keeps_two_fold(cases_.norm_modulate(s)));
    EXPECT_TRUE(keeps_two_fold(cases_.gate_add(s)));
    for (const Gated which : {Gated::kBoth, Gated::kSum, Gated::kNorm})
      EXPECT_TRUE(keeps_two_fold(cases_.gate_add_norm(s, which)));
    EXPECT_TRUE(keeps_two_fold(cases_.swiglu(s)));
  }
}

TEST_P(FusedOnCpu, HeadsKeepTheTwoFoldRule) {
  for (const FusedShape& s : {FusedShape{2, 5, 3, 16}, {1, 3, 2, 34}, {1, 7, 2, 128}})
    EXPECT_TRUE(keeps_two_fold(cases_.norm_rotate(s))) << s.d;
}

TEST_P(FusedOnCpu, CrossEntropyKeepsTheTwoFoldRule) {
  for (const auto& [rows, classes] : {std::pair{9, 64}, {5, 33}, {3, 1024}, {2, 8200}})
    EXPECT_TRUE(keeps_two_fold(cases_.cross_entropy(rows, classes))) << classes;
}

INSTANTIATE_TEST_SUITE_P(Types, FusedOnCpu, ::testing::Values(at::kFloat, at::kBFloat16));

// The values with the largest of them so many units of bfloat16 further from zero.
at::Tensor off_by(const at::Tensor& values, int units) {
  const at::Tensor off = values.detach().to(at::kBFloat16).contiguous().clone();
  const int64_t at = off.abs().to(at::kFloat).argmax().item<int64_t>();
  auto& bits = off.mutable_data_ptr<at::BFloat16>()[at].x;
  bits = static_cast<uint16_t>(bits + units);
  return off.to(values.scalar_type());
}

class TwoFoldRule : public OnCpu {
 protected:
  const FusedCases cases_{[](const at::Tensor& x) { return x; }, at::kBFloat16};
  std::vector<TwoFold> all() const {
    const FusedShape s{1, 2, 7, 32};
    return {cases_.norm_modulate(s), cases_.gate_add_norm(s, Gated::kNorm), cases_.swiglu(s),
            cases_.norm_rotate(s)};
  }
};

TEST_F(TwoFoldRule, SeesAResultThatIsThreeUnitsOff) {
  for (const TwoFold& right : all()) {
    const at::Tensor exact = right.formula(right.inputs, at::kFloat),
                     coarse = right.formula(right.inputs, right.type),
                     got = right.kernel(right.inputs);
    EXPECT_TRUE(within_two_fold(got, coarse, exact, at::kBFloat16));
    EXPECT_FALSE(within_two_fold(off_by(got, 3), coarse, exact, at::kBFloat16));
    TwoFold wrong = right;
    wrong.kernel = [&](const std::vector<at::Tensor>& in) { return off_by(right.kernel(in), 3); };
    EXPECT_TRUE(keeps_two_fold(right));
    EXPECT_FALSE(keeps_two_fold(wrong));
  }
}

TEST_F(TwoFoldRule, SeesAGradientThatIsThreeUnitsOff) {
  for (const TwoFold& right : all()) {
    for (size_t i = 0; i < right.inputs.size(); ++i) {
      TwoFold wrong = right;
      wrong.kernel = [&](std::vector<at::Tensor> in) {
        if (in[i].requires_grad()) {
          in[i] = in[i] * 1;
          in[i].register_hook([](const at::Tensor& gradient) { return off_by(gradient, 3); });
        }
        return right.kernel(in);
      };
      EXPECT_FALSE(keeps_two_fold(wrong)) << "input " << i;
    }
  }
}

TEST_F(TwoFoldRule, SeesNotANumberAndOtherSizes) {
  const at::Tensor right = testing::normal({2, 3}), wrong = right.clone();
  EXPECT_TRUE(within_two_fold(right, right, right, at::kFloat));
  EXPECT_FALSE(within_two_fold(right.flatten(), right, right, at::kFloat));
  wrong[1][2] = std::nan("");
  EXPECT_FALSE(within_two_fold(wrong, right, right, at::kFloat));
  EXPECT_FALSE(within_two_fold(wrong, wrong, right, at::kFloat));
}

// Float has no coarser formula: sums in another order are all that is allowed.
TEST_F(TwoFoldRule, AllowsFloatOnlyRounding) {
  const at::Tensor exact = testing::normal({50});
  EXPECT_TRUE(within_two_fold(exact * (1 + 1e-5), exact, exact, at::kFloat));
  EXPECT_FALSE(within_two_fold(exact * (1 + 4e-5), exact, exact, at::kFloat));
  EXPECT_FALSE(within_two_fold(exact.to(at::kBFloat16), exact, exact, at::kFloat));
}

}  // namespace
}  // namespace praxino::ops
