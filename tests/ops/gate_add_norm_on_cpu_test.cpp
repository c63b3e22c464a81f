// gate_add_norm by the kernel that a GPU runs, on the CPU, against its formula: which gradients
// come in, which are asked for, and operands that lie oddly.
#include <ATen/ops/full.h>
#include <torch/csrc/autograd/autograd.h>

#include "ops/fused_cases.h"
#include "ops/on_cpu.h"

namespace praxino::ops {
namespace {

using testing::normal;
using testing::within_two_fold;
using Inputs = std::vector<at::Tensor>;

class GateAddNormOnCpu : public OnCpu, public ::testing::WithParamInterface<at::ScalarType> {
 protected:
  // The values as the type holds them, in float.
  static at::Tensor held(const at::Tensor& values) { return values.to(GetParam()).to(at::kFloat); }
  // x, gate, branch, scale, shift; frames of one chunk and of several.
  static Inputs inputs(int64_t width) {
    return {normal({1, 2, 19, width}, 1), normal({1, 2, width}, 2),
            held(normal({1, 2, 19, width}, 3)), normal({1, 2, width}, 4), normal({1, 2, width}, 5)};
  }
  static GatedSum kernel(const Inputs& in) {
    return cuda::gate_add_norm(in[0], in[1], in[2].to(GetParam()), {in[3], in[4]}, GetParam())
        .value();
  }
  static GatedSum formula(const Inputs& in, at::ScalarType type) {
    return formula::gate_add_norm(in[0], in[1], in[2].to(type), {in[3], in[4]}, type);
  }
};

TEST_P(GateAddNormOnCpu, TakesTheGradientOfEitherResultOrOfBoth) {
  const FusedCases cases([](const at::Tensor& x) { return x; }, GetParam());
  for (const int64_t width : {48, 13}) {
    for (const Gated which : {Gated::kBoth, Gated::kSum, Gated::kNorm})
      EXPECT_TRUE(testing::keeps_two_fold(cases.gate_add_norm({1, 2, 19, width}, which))) << width;
  }
}

// Each input alone, with the gradients of both results.
TEST_P(GateAddNormOnCpu, GivesOnlyTheGradientsThatAreAskedFor) {
  for (size_t asked = 0; asked < 5; ++asked) {
    const auto gradient = [&](const std::function<GatedSum(const Inputs&)>& op) {
      Inputs in = inputs(48);
      in[asked].requires_grad_(true);
      const GatedSum y = op(in);
      const at::Tensor weight = held(normal(y.sum.sizes(), 98));
      return torch::autograd::grad({(y.sum * weight).sum() + (y.norm * weight).sum()},
                                   {in[asked]})[0];
    };
    const auto in_type = [&](at::ScalarType type) {
      return gradient([type](const Inputs& in) { return formula(in, type); });
    };
    EXPECT_TRUE(within_two_fold(gradient(kernel), in_type(GetParam()), in_type(at::kFloat),
                                asked == 2 ? GetParam() : at::kFloat))
        << asked;
  }
}

TEST_P(GateAddNormOnCpu, GivesNoGradientForAResultThatWasNotUsed) {
  Inputs in = inputs(16);
  for (at::Tensor& leaf : in) leaf.requires_grad_(true);
  kernel(in).sum.sum().backward();
  EXPECT_TRUE(in[0].grad().equal(at::full({1, 2, 19, 16}, 1.0F)));
  EXPECT_TRUE(in[1].grad().defined() && in[2].grad().defined());
  EXPECT_FALSE(in[3].grad().defined() || in[4].grad().defined());
}

TEST_P(GateAddNormOnCpu, TakesOperandsThatLieOddly) {
  Inputs in = inputs(48);
  const GatedSum want = formula(in, at::kFloat), coarse = formula(in, GetParam());
  const auto expect_right = [&](const GatedSum& got) {
    EXPECT_TRUE(within_two_fold(got.norm, coarse.norm, want.norm, GetParam()));
    EXPECT_TRUE(within_two_fold(got.sum, coarse.sum, want.sum, at::kFloat));
  };
  for (at::Tensor& operand : in) operand = unaligned(operand);
  in[2] = unaligned(in[2].to(GetParam()));
  expect_right(kernel(in));
  in[0] = in[0].transpose(1, 2).contiguous().transpose(1, 2);
  in[2] = in[2].transpose(2, 3).contiguous().transpose(2, 3);
  expect_right(kernel(in));
}

TEST_P(GateAddNormOnCpu, LeavesWhatItsKernelDoesNotKnow) {
  const Inputs in = inputs(16);
  const at::ScalarType other = GetParam() == at::kFloat ? at::kBFloat16 : at::kFloat;
  const at::Tensor branch = in[2].to(GetParam());
  EXPECT_FALSE(cuda::gate_add_norm(in[0], in[1], branch, {in[3], in[4]}, other).has_value());
  EXPECT_FALSE(
      cuda::gate_add_norm(in[0], in[1], branch, {in[3], in[4].narrow(1, 0, 1)}, GetParam()));
  EXPECT_FALSE(
      cuda::gate_add_norm(in[0].to(at::kDouble), in[1], branch, {in[3], in[4]}, GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Types, GateAddNormOnCpu, ::testing::Values(at::kFloat, at::kBFloat16));

}  // namespace
}  // namespace praxino::ops
