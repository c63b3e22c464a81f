#include "praxino/ops/quantize.h"

#include <ATen/ops/tensor.h>

#include <cmath>
#include <limits>

#include "support/tensors.h"

namespace praxino::ops {
namespace {

TEST(FiniteScalarQuantize, GivesTheNearestLevelAndItsNumber) {
  const std::vector<int64_t> levels = {5, 8, 2};
  const at::Tensor z = testing::normal({4, 7, 3}, 1) * 1.5;
  const Quantized got = finite_scalar_quantize(z, levels);
  ASSERT_EQ(got.codes.sizes(), z.sizes());
  ASSERT_EQ(got.indices.sizes(), at::IntArrayRef({4, 7}));
  for (int64_t i = 0; i < 28; ++i) {
    int64_t index = 0, basis = 1;
    for (int64_t c = 0; c < 3; ++c) {
      const int64_t top = levels[static_cast<size_t>(c)] - 1;
      const double u = std::tanh(z.view({28, 3})[i][c].item<double>());
      const double q = std::nearbyint((u + 1) / 2 * static_cast<double>(top));
      EXPECT_NEAR(got.codes.view({28, 3})[i][c].item<double>(),
                  2 * q / static_cast<double>(top) - 1, 1e-6);
      index += static_cast<int64_t>(q) * basis;
      basis *= top + 1;
    }
    EXPECT_EQ(got.indices.flatten()[i].item<int64_t>(), index);
  }
}

TEST(FiniteScalarQuantize, KnowsTheExampleOfThePaperInWords) {
  const Quantized got = finite_scalar_quantize(at::tensor({std::atanh(0.3F)}).view({1, 1}), {5});
  EXPECT_EQ(got.indices.item<int64_t>(), 3);
  EXPECT_EQ(got.codes.item<float>(), 0.5F);
}

TEST(FiniteScalarQuantize, LetsGradientsStraightThroughTheRounding) {
  const at::Tensor z = testing::normal({6, 2}, 2), weight = testing::normal({6, 2}, 3);
  const auto got = testing::gradients(
      [](const std::vector<at::Tensor>& in) {
        return finite_scalar_quantize(in[0], {4, 9}).codes;
      },
      {z}, weight);
  EXPECT_LT(testing::relative_error(got[0], weight * (1 - z.tanh().square())), 1e-6);
}

TEST(FiniteScalarQuantize, HoldsAtTheEndsOfTheRange) {
  const float infinity = std::numeric_limits<float>::infinity();
  const Quantized got = finite_scalar_quantize(
      at::tensor({-infinity, infinity, 100.0F, std::nanf("")}).view({2, 2}), {3, 4});
  EXPECT_EQ(got.indices[0].item<int64_t>(), 9);
  EXPECT_EQ(got.indices[1].item<int64_t>(), 2);
  EXPECT_EQ(got.codes[0][0].item<float>(), -1);
  EXPECT_TRUE(std::isnan(got.codes[1][1].item<float>()));
}

TEST(FiniteScalarQuantize, RefusesLevelsThatDoNotFit) {
  const at::Tensor z = testing::normal({6, 2});
  EXPECT_THROW(finite_scalar_quantize(z, {4}), c10::Error);
  EXPECT_THROW(finite_scalar_quantize(z, {4, 1}), c10::Error);
  EXPECT_THROW(finite_scalar_quantize(z, {4, 1025}), c10::Error);
  const std::vector<int64_t> many(8, 1024);
  EXPECT_THROW(finite_scalar_quantize(testing::normal({1, 8}), many), c10::Error);
}

}  // namespace
}  // namespace praxino::ops
