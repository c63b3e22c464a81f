// gate_add_norm by the kernel that a GPU runs, on the CPU, against its formula: which gradients
// come in, which are asked for, and operands that lie oddly.
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <torch/csrc/autograd/autograd.h>

#include "ops/fused_cuda.h"
#include "ops/on_cpu.h"

namespace praxino::ops {
namespace {

using testing::gradients;
using testing::normal;
using testing::relative_error;
using Inputs = std::vector<at::Tensor>;

class GateAddNormOnCpu : public OnCpu, public ::testing::WithParamInterface<at::ScalarType> {
 protected:
  static double tolerance() { return GetParam() == at::kFloat ? 2e-5 : 8e-3; }

  // x, gate, branch, scale, shift; frames of one chunk and of several.
  static Inputs inputs(int64_t width) {
    return {normal({1, 2, 19, width}, 1), normal({1, 2, width}, 2), normal({1, 2, 19, width}, 3),
            normal({1, 2, width}, 4), normal({1, 2, width}, 5)};
  }
  static GatedSum kernel(const Inputs& in) {
    return cuda::gate_add_norm(in[0], in[1], in[2].to(GetParam()), {in[3], in[4]}, GetParam())
        .value();
  }
  static GatedSum formula(const Inputs& in) {
    return formula::gate_add_norm(in[0], in[1], in[2].to(GetParam()), {in[3], in[4]}, GetParam());
  }
};

TEST_P(GateAddNormOnCpu, TakesTheGradientOfEitherResultOrOfBoth) {
  const auto both = [](const GatedSum& y) { return at::cat({y.sum, y.norm.to(at::kFloat)}); };
  const auto of_sum = [](const GatedSum& y) { return y.sum; };
  const auto of_norm = [](const GatedSum& y) { return y.norm; };
  for (const int64_t width : {48, 13}) {
    const Inputs in = inputs(width);
    for (const auto& take :
         std::vector<std::function<at::Tensor(const GatedSum&)>>{both, of_sum, of_norm}) {
      const auto got = [&](const Inputs& leaves) { return take(kernel(leaves)); };
      const auto want = [&](const Inputs& leaves) { return take(formula(leaves)); };
      const at::Tensor result = want(in), weight = normal(result.sizes(), 99);
      EXPECT_LT(relative_error(got(in), result), tolerance());
      const Inputs got_gradients = gradients(got, in, weight),
                   want_gradients = gradients(want, in, weight);
      for (size_t i = 0; i < in.size(); ++i)
        EXPECT_LT(relative_error(got_gradients[i], want_gradients[i]), tolerance()) << i;
    }
  }
}

// Each input alone, with the gradients of both results.
TEST_P(GateAddNormOnCpu, GivesOnlyTheGradientsThatAreAskedFor) {
  for (size_t asked = 0; asked < 5; ++asked) {
    const auto gradient = [&](auto op) {
      Inputs in = inputs(48);
      in[asked].requires_grad_(true);
      const GatedSum y = op(in);
      const at::Tensor weight = normal(y.sum.sizes(), 98);
      return torch::autograd::grad({(y.sum * weight).sum() + (y.norm * weight).sum()},
                                   {in[asked]})[0];
    };
    EXPECT_LT(relative_error(gradient(kernel), gradient(formula)), tolerance()) << asked;
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
  const GatedSum want = formula(in);
  for (at::Tensor& operand : in) operand = unaligned(operand);
  in[2] = unaligned(in[2].to(GetParam()));
  EXPECT_LT(relative_error(kernel(in).norm, want.norm), tolerance());
  in[0] = in[0].transpose(1, 2).contiguous().transpose(1, 2);
  in[2] = in[2].transpose(2, 3).contiguous().transpose(2, 3);
  EXPECT_LT(relative_error(kernel(in).norm, want.norm), tolerance());
  EXPECT_LT(relative_error(kernel(in).sum, want.sum), tolerance());
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
