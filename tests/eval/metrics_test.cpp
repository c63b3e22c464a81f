#include "praxino/eval/metrics.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "praxino/base/error.h"

namespace praxino::eval {
namespace {

/// The published test pair, in 0..255: a = .5 + .5 sin(.1 i) cos(.15 j), b = clip(a + .1 sin(.7 i +
/// .3 j), 0, 1).
struct Pair {
  at::Tensor a, b;
};
Pair known_pair(int64_t side) {
  const at::Tensor i = at::arange(side, at::kDouble).view({1, side, 1});
  const at::Tensor j = at::arange(side, at::kDouble).view({1, 1, side});
  const at::Tensor a = 0.5 + 0.5 * (0.1 * i).sin() * (0.15 * j).cos();
  const at::Tensor b = (a + 0.1 * (0.7 * i + 0.3 * j).sin()).clamp(0, 1);
  return {a * 255, b * 255};
}

double value(const at::Tensor& t) { return t.item<double>(); }

TEST(Psnr, HasTheKnownAnswers) {
  EXPECT_NEAR(value(psnr(known_pair(64).a, known_pair(64).b)), 23.189014, 1e-6);
  EXPECT_NEAR(value(psnr(known_pair(256).a, known_pair(256).b)), 23.183545, 1e-6);
  EXPECT_NEAR(value(psnr(at::full({3, 4, 4}, 255, at::kByte), at::zeros({3, 4, 4}, at::kByte))), 0,
              1e-12);
}

TEST(Psnr, GivesOneHundredForEqualFramesAndNeverMore) {
  const Pair pair = known_pair(64);
  EXPECT_EQ(value(psnr(pair.a, pair.a)), kPsnrOfEqualFrames);
  EXPECT_EQ(value(psnr(pair.a, pair.a + 1e-9)), kPsnrOfEqualFrames);
}

TEST(Ssim, HasTheKnownAnswers) {
  EXPECT_NEAR(value(ssim(known_pair(64).a, known_pair(64).b)), 0.681231, 1e-6);
  EXPECT_NEAR(value(ssim(known_pair(256).a, known_pair(256).b)), 0.658784, 1e-6);
}

TEST(Ssim, IsOneForEqualFramesAndTheMeanOverChannels) {
  const Pair pair = known_pair(64);
  EXPECT_NEAR(value(ssim(pair.a, pair.a)), 1.0, 1e-12);
  const at::Tensor a = at::stack({pair.a[0], pair.a[0]}), b = at::stack({pair.a[0], pair.b[0]});
  EXPECT_NEAR(value(ssim(a, b)), (1 + 0.681231) / 2, 1e-6);
}

TEST(Ssim, RefusesPicturesSmallerThanItsWindow) {
  const at::Tensor small = at::zeros({3, 10, 64}, at::kByte);
  EXPECT_THROW(ssim(small, small), Error);
  const at::Tensor least = at::zeros({3, 11, 11}, at::kByte);
  EXPECT_NEAR(value(ssim(least, least)), 1.0, 1e-12);
}

/// What holds for every metric of picture pairs.
class PictureMetric
    : public testing::TestWithParam<at::Tensor (*)(const at::Tensor&, const at::Tensor&)> {};

TEST_P(PictureMetric, KeepsTheLeadingShapeAndMeasuresEachFrameAlone) {
  const at::Tensor a = at::randint(256, {2, 3, 3, 16, 20}, at::kByte),
                   b = at::randint(256, {2, 3, 3, 16, 20}, at::kByte);
  const at::Tensor all = GetParam()(a, b);
  ASSERT_EQ(all.sizes(), at::IntArrayRef({2, 3}));
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t t = 0; t < 3; ++t)
      EXPECT_NEAR(value(all[n][t]), value(GetParam()(a[n][t], b[n][t])), 1e-12);
  }
}

TEST_P(PictureMetric, IsSymmetricAndTakesBytesAsNumbers) {
  const at::Tensor a = at::randint(256, {3, 16, 16}, at::kByte),
                   b = at::randint(256, {3, 16, 16}, at::kByte);
  const double one = value(GetParam()(a, b));
  EXPECT_NEAR(one, value(GetParam()(b, a)), 1e-12);
  EXPECT_NEAR(one, value(GetParam()(a.to(at::kFloat), b.to(at::kDouble))), 1e-12);
}

TEST_P(PictureMetric, RefusesOtherShapesAndValuesThatAreNotFinite) {
  const at::Tensor a = at::rand({3, 16, 16});
  EXPECT_THROW(GetParam()(a, at::rand({3, 16, 17})), Error);
  EXPECT_THROW(GetParam()(a[0], a[0]), Error);
  at::Tensor broken = a.clone();
  broken[1][2][3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(GetParam()(a, broken), Error);
  EXPECT_THROW(GetParam()(broken, a), Error);
}

INSTANTIATE_TEST_SUITE_P(All, PictureMetric, testing::Values(&psnr, &ssim));

}  // namespace
}  // namespace praxino::eval
