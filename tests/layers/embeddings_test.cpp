#include "praxino/layers/embeddings.h"

#include <cmath>
#include <numbers>

#include "support/tensors.h"

namespace praxino {
namespace {

TEST(FourierFeatures, TurnAtFrequenciesFromOneHalfTo64) {
  constexpr int64_t kFeatures = 16, kCount = kFeatures / 2;
  const at::Tensor signal = testing::uniform({3, 5});
  const at::Tensor features = fourier_features(signal, kFeatures);
  ASSERT_EQ(features.sizes(), at::IntArrayRef({3, 5, kFeatures}));
  for (int64_t i = 0; i < kCount; ++i) {
    // docs/recipes.md: f_i = 0.5 * 128^(i / (m/2 - 1))
    const double turns = 0.5 * std::pow(128.0, static_cast<double>(i) / (kCount - 1));
    const double angle = 2 * std::numbers::pi * turns * signal[2][4].item<double>();
    EXPECT_NEAR(features[2][4][i].item<double>(), std::cos(angle), 1e-4);
    EXPECT_NEAR(features[2][4][kCount + i].item<double>(), std::sin(angle), 1e-4);
  }
}

}  // namespace
}  // namespace praxino
