#include "rollout/sampler.h"

#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <gmock/gmock.h>

#include <c10/util/Exception.h>

#include <vector>

#include "praxino/objective/objective.h"

namespace praxino {
namespace {

const at::Tensor kData = at::linspace(-1, 1, 24).view({1, 1, 4, 6});

at::Tensor noise() { return keyed_normal({1, 1, 4, 6}, 1, "test.noise", 0); }

TEST(Sampler, GivesTheDataOfAnOracleExactly) {
  for (const int64_t steps : {1, 2, 3, 4, 7, 49, 64}) {
    const auto oracle = [](const at::Tensor&, double) { return kData; };
    EXPECT_TRUE(sample_frame(oracle, noise(), steps).equal(kData)) << steps << " steps";
  }
}

TEST(Sampler, AsksAtEvenlySpacedLevelsFromNoiseOn) {
  std::vector<double> levels;
  const auto oracle = [&](const at::Tensor& z, double tau) {
    EXPECT_EQ(z.equal(noise()), levels.empty());
    levels.push_back(tau);
    return kData;
  };
  sample_frame(oracle, noise(), 4);
  EXPECT_THAT(levels, testing::ElementsAre(0.0, 0.25, 0.5, 0.75));
}

TEST(Sampler, WalksTheStraightLineFromNoiseToAConstantPrediction) {
  const auto oracle = [](const at::Tensor& z, double tau) {
    EXPECT_TRUE(z.allclose(mix_noise(kData, noise(), tau), 1e-5, 1e-6)) << tau;
    return kData;
  };
  sample_frame(oracle, noise(), 8);
}

TEST(Sampler, ClampsPredictionsBeforeTheyAreUsed) {
  const auto wild = [](const at::Tensor& z, double) { return at::full(z.sizes(), 50.0); };
  EXPECT_EQ(sample_frame(wild, noise(), 4).max().item<float>(), 1.0F);
  const auto check = [](const at::Tensor& z, double tau) {
    EXPECT_LE(z.abs().max().item<float>(), (1 - tau) * 4 + tau)
        << "the first prediction was not clamped";
    return at::full(z.sizes(), -50.0);
  };
  sample_frame(check, noise().clamp(-4, 4), 4);
}

TEST(Sampler, RefusesZeroSteps) {
  const auto oracle = [](const at::Tensor&, double) { return kData; };
  EXPECT_THROW(sample_frame(oracle, noise(), 0), c10::Error);
}

}  // namespace
}  // namespace praxino
