#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones_like.h>
#include <torch/csrc/autograd/autograd.h>

#include "praxino/ops/norm.h"
#include "praxino/ops/rope.h"
#include "support/tensors.h"

namespace praxino::ops {
namespace {

using testing::gradients;
using testing::normal;
using testing::relative_error;

// fp32: rounding of sums in another order. bf16: half a unit in the last of 8 bits, relative to the
// largest value.
constexpr double kFloatTolerance = 2e-5;
constexpr double kBf16Tolerance = 8e-3;

double tolerance(at::ScalarType dtype) {
  return dtype == at::kFloat ? kFloatTolerance : kBf16Tolerance;
}

// The fused operation equals its formula, forward and backward, for every input.
void expect_equal(const testing::Function& fused, const testing::Function& formula,
                  const std::vector<at::Tensor>& inputs, double tolerance) {
  const at::Tensor want = formula(inputs);
  const at::Tensor got = fused(inputs);
  EXPECT_EQ(got.scalar_type(), want.scalar_type());
  EXPECT_LT(relative_error(got, want), tolerance);
  const at::Tensor weight = normal(want.sizes(), 99);
  const auto got_gradients = gradients(fused, inputs, weight);
  const auto want_gradients = gradients(formula, inputs, weight);
  for (size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_LT(relative_error(got_gradients[i], want_gradients[i]), tolerance)
        << "gradient of input " << i;
  }
}

struct Shape {
  int64_t b, t, n, d;
};

class FusedOps : public ::testing::TestWithParam<std::tuple<Shape, at::ScalarType>> {
 protected:
  Shape shape() const { return std::get<0>(GetParam()); }
  at::ScalarType dtype() const { return std::get<1>(GetParam()); }
  at::Tensor tokens(uint64_t seed) const {
    return normal({shape().b, shape().t, shape().n, shape().d}, seed);
  }
  at::Tensor frames(uint64_t seed) const { return normal({shape().b, shape().t, shape().d}, seed); }
};

TEST_P(FusedOps, NormModulateEqualsItsFormula) {
  const auto run = [&](auto op) {
    return [&, op](const auto& in) { return op(in[0], in[1], in[2], dtype()); };
  };
  expect_equal(run(norm_modulate), run(formula::norm_modulate), {tokens(1), frames(2), frames(3)},
               tolerance(dtype()));
}

TEST_P(FusedOps, GateAddEqualsItsFormula) {
  const auto run = [&](auto op) {
    return [&, op](const auto& in) { return op(in[0], in[1], in[2].to(dtype())); };
  };
  expect_equal(run(gate_add), run(formula::gate_add), {tokens(1), frames(2), tokens(3)},
               tolerance(dtype()));
}

at::Tensor joined(const GatedSum& both) { return at::cat({both.sum, both.norm.to(at::kFloat)}); }

// Of both results, and of each where the other one is not used.
TEST_P(FusedOps, GateAddNormEqualsItsFormula) {
  const std::vector<at::Tensor> inputs = {tokens(1), frames(2), tokens(3), frames(4), frames(5)};
  for (const auto& take : {+[](const GatedSum& both) { return joined(both); },
                           +[](const GatedSum& both) { return both.sum; },
                           +[](const GatedSum& both) { return both.norm; }}) {
    const auto run = [&](auto op) {
      return [&, op](const auto& in) {
        return take(op(in[0], in[1], in[2].to(dtype()), {in[3], in[4]}, dtype()));
      };
    };
    expect_equal(run(gate_add_norm), run(formula::gate_add_norm), inputs, tolerance(dtype()));
  }
}

// What a run on a CPU computes does not change with the fusion.
TEST_P(FusedOps, GateAddNormHasTheBitsOfTheTwoOperations) {
  const std::vector<at::Tensor> inputs = {tokens(1), frames(2), tokens(3), frames(4), frames(5)};
  const auto fused = [&](const std::vector<at::Tensor>& in) {
    return joined(gate_add_norm(in[0], in[1], in[2].to(dtype()), {in[3], in[4]}, dtype()));
  };
  const auto two = [&](const std::vector<at::Tensor>& in) {
    const at::Tensor sum = gate_add(in[0], in[1], in[2].to(dtype()));
    return joined({sum, norm_modulate(sum, in[3], in[4], dtype())});
  };
  const at::Tensor want = two(inputs), weight = normal(want.sizes(), 99);
  EXPECT_TRUE(testing::same_bits(fused(inputs), want));
  const auto got_gradients = gradients(fused, inputs, weight);
  const auto want_gradients = gradients(two, inputs, weight);
  for (size_t i = 0; i < inputs.size(); ++i)
    EXPECT_TRUE(testing::same_bits(got_gradients[i], want_gradients[i])) << "input " << i;
}

TEST_P(FusedOps, SwiGluEqualsItsFormula) {
  const auto run = [&](auto op) {
    return [&, op](const auto& in) { return op(in[0].to(dtype())); };
  };
  const at::Tensor ab = normal({shape().b, shape().t, shape().n, 2 * shape().d}, 4) * 4;
  expect_equal(run(swiglu), run(formula::swiglu), {ab}, tolerance(dtype()));
}

TEST_P(FusedOps, NormRotateEqualsItsFormula) {
  const int64_t rows = shape().b, positions = shape().t * shape().n, heads = 3,
                k = shape().d % 2 ? shape().d + 1 : shape().d;
  const RopeTable table = rope_table(normal({positions, 3}, 8) * 5, {k / 2, 0, 0}, 100.0);
  const auto run = [&](auto op) {
    return [&, op](const auto& in) { return op(in[0].to(dtype()), in[1], table.cos, table.sin); };
  };
  expect_equal(run(norm_rotate), run(formula::norm_rotate),
               {normal({rows, positions, heads, k}, 5), normal({k}, 6)}, tolerance(dtype()));
}

INSTANTIATE_TEST_SUITE_P(Shapes, FusedOps,
                         ::testing::Combine(::testing::Values(Shape{2, 3, 5, 16}, Shape{1, 1, 1, 4},
                                                              Shape{3, 2, 7, 33},
                                                              Shape{1, 4, 50, 64}),
                                            ::testing::Values(at::kFloat, at::kBFloat16)));

TEST(FusedOps, KeepNotANumber) {
  const at::Tensor ab = at::full({4, 32}, std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(swiglu(ab).isnan().all().item<bool>());
  EXPECT_TRUE(swiglu(ab.to(at::kBFloat16)).isnan().all().item<bool>());
}

// A result that nobody used hands no gradient down: what went into it alone has none.
TEST(FusedOps, GateAddNormGivesNoGradientForAResultThatWasNotUsed) {
  const auto leaf = [](at::IntArrayRef sizes, uint64_t seed) {
    return normal(sizes, seed).requires_grad_(true);
  };
  const at::Tensor x = leaf({1, 2, 3, 8}, 1), gate = leaf({1, 2, 8}, 2),
                   branch = leaf({1, 2, 3, 8}, 3), scale = leaf({1, 2, 8}, 4),
                   shift = leaf({1, 2, 8}, 5);
  gate_add_norm(x, gate, branch, {scale, shift}, at::kFloat).sum.sum().backward();
  EXPECT_TRUE(testing::same_bits(x.grad(), at::full({1, 2, 3, 8}, 1.0F)));
  EXPECT_TRUE(gate.grad().defined() && branch.grad().defined());
  EXPECT_FALSE(scale.grad().defined() || shift.grad().defined());
}

TEST(FusedOps, TakeAnEmptyBatch) {
  const at::Tensor x = normal({0, 2, 3, 8}).requires_grad_(true), frame = normal({0, 2, 8});
  const GatedSum both = gate_add_norm(x, frame, x, {frame, frame}, at::kFloat);
  EXPECT_EQ(both.norm.sizes(), x.sizes());
  (both.sum.sum() + both.norm.sum()).backward();
  EXPECT_EQ(x.grad().sizes(), x.sizes());
}

TEST(FusedOps, SwiGluHoldsAtTheEndsOfTheRange) {
  const at::Tensor ab = normal({64, 32}, 3).sign() * 1e4;
  EXPECT_LT(relative_error(swiglu(ab), formula::swiglu(ab)), kFloatTolerance);
  EXPECT_TRUE(swiglu(ab).isfinite().all().item<bool>());
}

TEST(FusedOps, TakeInputsThatAreNotContiguous) {
  const at::Tensor x = normal({2, 5, 3, 8}, 1).transpose(1, 2),
                   s = normal({3, 2, 8}, 2).transpose(0, 1);
  EXPECT_LT(relative_error(norm_modulate(x, s, s, at::kFloat),
                           formula::norm_modulate(x, s, s, at::kFloat)),
            kFloatTolerance);
  EXPECT_LT(relative_error(joined(gate_add_norm(x, s, x, {s, s}, at::kFloat)),
                           joined(formula::gate_add_norm(x, s, x, {s, s}, at::kFloat))),
            kFloatTolerance);
}

// Scales and gates of one frame for all frames, of another type, repeated without memory of their
// own: in the formula's broadcasting they are right.
TEST(FusedOps, TakeOperandsThatAreBroadcastOrOfAnotherType) {
  const at::Tensor x = normal({2, 3, 5, 16}, 1);
  const at::Tensor frames = normal({2, 3, 16}, 2), one = normal({2, 1, 16}, 3),
                   half = normal({2, 3, 16}, 4).to(at::kBFloat16),
                   same = normal({16}, 5).expand({2, 3, 16});
  for (const auto& [scale, shift] :
       {std::pair{one, frames}, {frames, one}, {half, frames}, {frames, half}, {same, frames}}) {
    expect_equal(
        [](const auto& in) { return norm_modulate(in[0], in[1], in[2], at::kFloat); },
        [](const auto& in) { return formula::norm_modulate(in[0], in[1], in[2], at::kFloat); },
        {x, scale, shift}, kFloatTolerance);
  }
  for (const auto& [gate, branch] : {std::pair{one, x}, {half, x}, {frames, x.narrow(2, 0, 1)}}) {
    expect_equal([](const auto& in) { return gate_add(in[0], in[1], in[2]); },
                 [](const auto& in) { return formula::gate_add(in[0], in[1], in[2]); },
                 {x, gate, branch}, kFloatTolerance);
    const auto norm_by = [&](const auto& op) {
      return [&, op](const auto& in) {
        return joined(op(in[0], in[1], in[2], {in[3], in[4]}, at::kFloat));
      };
    };
    expect_equal(norm_by(gate_add_norm), norm_by(formula::gate_add_norm),
                 {x, gate, branch, one, frames}, kFloatTolerance);
  }
}

TEST(FusedOps, TakeRowsOfBfloat16WhereFloatIsUsual) {
  const at::Tensor x = normal({2, 3, 5, 16}, 1).to(at::kBFloat16), frames = normal({2, 3, 16}, 2);
  EXPECT_LT(relative_error(gate_add(x, frames, x), formula::gate_add(x, frames, x)),
            kBf16Tolerance);
  EXPECT_LT(relative_error(norm_modulate(x, frames, frames, at::kFloat),
                           formula::norm_modulate(x, frames, frames, at::kFloat)),
            kBf16Tolerance);
}

TEST(FusedOps, RotateWithOneGainForAllAndWithTablesThatAreRepeated) {
  const at::Tensor x = normal({2, 5, 3, 8}, 1), all = normal({5, 4}, 2), one = normal({1, 4}, 3);
  for (const at::Tensor& gain : {normal({1}, 4).expand({8}), normal({16}, 5).slice(0, 0, 16, 2),
                                 normal({8}, 6).to(at::kBFloat16)}) {
    for (const at::Tensor& angles : {all, one, one.expand({5, 4}), all.narrow(1, 0, 1)}) {
      expect_equal(
          [&](const auto& in) { return norm_rotate(in[0], in[1], angles.cos(), angles.sin()); },
          [&](const auto& in) {
            return formula::norm_rotate(in[0], in[1], angles.cos(), angles.sin());
          },
          {x, gain}, kFloatTolerance);
      EXPECT_LT(relative_error(norm_rotate(x, gain, angles.cos(), angles.sin()),
                               formula::norm_rotate(x, gain, angles.cos(), angles.sin())),
                kFloatTolerance);
    }
  }
}

TEST(FusedOps, OfWidthsWithoutHalvesAndOfNoRowsAreTheirFormulas) {
  const at::Tensor odd = normal({4, 7}, 1), none = normal({4, 0}, 1);
  EXPECT_LT(relative_error(swiglu(odd), formula::swiglu(odd)), kFloatTolerance);
  EXPECT_EQ(swiglu(none).sizes(), formula::swiglu(none).sizes());
  EXPECT_EQ(swiglu(normal({0, 8})).sizes(), (std::vector<int64_t>{0, 4}));
  EXPECT_EQ(norm_rotate(normal({0, 5, 3, 8}), normal({8}), normal({5, 4}), normal({5, 4})).numel(),
            0);
  const at::Tensor x = normal({2, 5, 3, 7}, 1), gain = normal({7}, 2), angles = normal({5, 3}, 3);
  EXPECT_EQ(norm_rotate(x, gain, angles, angles).sizes(),
            formula::norm_rotate(x, gain, angles, angles).sizes());
}

// What the formula cannot broadcast is its error.
TEST(FusedOps, RefuseOperandsThatDoNotBelongTogether) {
  const at::Tensor x = normal({2, 3, 5, 16}, 1), wrong = normal({2, 4, 16}, 2);
  EXPECT_THROW(norm_modulate(x, wrong, wrong, at::kFloat), c10::Error);
  EXPECT_THROW(gate_add(x, wrong, x), c10::Error);
  EXPECT_THROW(gate_add(x, normal({2, 3, 16}), normal({2, 3, 4, 16})), c10::Error);
  EXPECT_THROW(norm_rotate(x, normal({15}), normal({3, 8}), normal({3, 8})), c10::Error);
  EXPECT_THROW(norm_rotate(x, normal({16}), normal({2, 8}), normal({2, 8})), c10::Error);
}

// Nothing would be there instead of what is missing: the loops write no graph.
TEST(FusedOps, RefuseTheGradientOfAGradient) {
  const at::Tensor x = normal({2, 3, 5, 16}, 1).requires_grad_(), frames = normal({2, 3, 16}, 2),
                   angles = normal({3, 8}, 3), gain = normal({16}, 4);
  const auto second = [&](const at::Tensor& y) {
    return torch::autograd::grad({y}, {x}, {at::ones_like(y)}, /*retain_graph=*/true,
                                 /*create_graph=*/true);
  };
  EXPECT_THROW(second(norm_modulate(x, frames, frames, at::kFloat)), c10::Error);
  EXPECT_THROW(second(gate_add(x, frames, x)), c10::Error);
  const Modulation modulation{frames, frames};
  EXPECT_THROW(second(gate_add_norm(x, frames, x, modulation, at::kFloat).sum), c10::Error);
  EXPECT_THROW(second(swiglu(x)), c10::Error);
  EXPECT_THROW(second(norm_rotate(x, gain, angles, angles)), c10::Error);
  EXPECT_TRUE(second(formula::swiglu(x))[0].requires_grad());
}

}  // namespace
}  // namespace praxino::ops
