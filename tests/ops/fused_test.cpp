#include <ATen/ops/full.h>

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
}

}  // namespace
}  // namespace praxino::ops
