#include "praxino/objective/objective.h"

#include <ATen/ops/stack.h>

#include "objective/diffusion_forcing.h"
#include "support/tensors.h"

namespace praxino {
namespace {

using testing::normal;
using testing::relative_error;

SampleKeys keys(std::vector<int64_t> samples) { return {.seed = 7, .samples = std::move(samples)}; }

TEST(Objective, MixesNoiseByTheSignalOfEachFrame) {
  const auto objective = make_objective({});
  const at::Tensor tokens = normal({3, 5, 4, 6}, 1);
  const Corrupted c = objective->corrupt(tokens, keys({10, 11, 12}));
  for (int64_t b = 0; b < 3; ++b) {
    const at::Tensor noise = keyed_normal({5, 4, 6}, 7, "noise", static_cast<uint64_t>(10 + b));
    for (int64_t t = 0; t < 5; ++t) {
      const double tau = c.signal[b][t].item<double>();
      EXPECT_LT(relative_error(c.z[b][t], mix_noise(tokens[b][t], noise[t], tau)), 1e-5);
      EXPECT_NEAR(c.weight[b][t].item<double>(), 0.9 * tau + 0.1, 1e-6);
    }
  }
}

TEST(Objective, DrawsDependOnTheSampleAlone) {
  const auto objective = make_objective({});
  const at::Tensor tokens = normal({2, 4, 3, 2}, 1);
  const Corrupted pair = objective->corrupt(tokens, keys({5, 6}));
  const Corrupted alone = objective->corrupt(tokens.narrow(0, 1, 1), keys({6}));
  EXPECT_TRUE(pair.z.narrow(0, 1, 1).equal(alone.z));
  EXPECT_TRUE(pair.signal.narrow(0, 1, 1).equal(alone.signal));
}

TEST(Objective, CleanContextComesBeforeACutInItsShareOfClips) {
  ObjectiveConfig config;
  config.clean_context = 0.75;
  config.context_noise = 0.1;
  int64_t clean = 0;
  const int64_t clips = 2000;
  for (int64_t sample = 0; sample < clips; ++sample) {
    const std::vector<float> tau = draw_signal(config, 3, sample, 8);
    if (tau[0] >= 0.85F) ++clean;
  }
  // Of the independent quarter, 15 % start above .85 by chance.
  EXPECT_NEAR(static_cast<double>(clean) / clips, 0.75 + 0.25 * 0.15, 0.03);
}

TEST(Objective, ContextNoiseIsCutOffAtPureNoise) {
  ObjectiveConfig config;
  config.clean_context = 1;
  config.context_noise = 0.9;  // drawn up to 1.35
  int64_t cut_off = 0;
  const int64_t clips = 500;
  for (int64_t sample = 0; sample < clips; ++sample) {
    for (const float tau : draw_signal(config, 3, sample, 8)) {
      EXPECT_GE(tau, 0.0F);
      EXPECT_LE(tau, 1.0F);
    }
    if (draw_signal(config, 3, sample, 8).front() == 0.0F) ++cut_off;
  }
  EXPECT_NEAR(static_cast<double>(cut_off) / clips, 0.35 / 1.35, 0.07);
}

TEST(Objective, RampWeightHasItsKnownValues) {  // docs/recipes.md
  const ObjectiveConfig config;
  EXPECT_NEAR(frame_weight(config, 0.0), 0.1, 1e-12);
  EXPECT_NEAR(frame_weight(config, 0.25), 0.325, 1e-12);
  EXPECT_NEAR(frame_weight(config, 0.5), 0.55, 1e-12);
  EXPECT_NEAR(frame_weight(config, 0.75), 0.775, 1e-12);
}

TEST(Objective, LossWeighsFramesAndIsZeroForTheTruth) {
  const auto objective = make_objective({});
  const at::Tensor tokens = normal({2, 3, 4, 5}, 1);
  const Corrupted c = objective->corrupt(tokens, keys({1, 2}));
  EXPECT_EQ(objective->loss(tokens, c).total.item<float>(), 0.0F);
  const at::Tensor off = tokens + 2.0;  // squared error 4 everywhere
  EXPECT_NEAR(objective->loss(off, c).total.item<float>(), 4 * c.weight.mean().item<float>(), 1e-4);
}

TEST(Objective, SharesOfHiddenActionsFollowTheConfiguration) {
  ObjectiveConfig config;
  config.action_dropout = 0.25;
  const auto objective = make_objective(config);
  std::vector<int64_t> samples(1000);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<int64_t>(i);
  const Corrupted c = objective->corrupt(normal({1000, 2, 1, 1}, 1), keys(samples));
  EXPECT_NEAR(c.hide_actions.to(at::kFloat).mean().item<float>(), 0.25, 0.05);
}

// A network that knows the answer must sample it back exactly, from any noise, in any number of
// steps.
TEST(Sampler, AnOracleSamplesTheDataBack) {
  const at::Tensor data = normal({2, 3, 4}, 1);
  for (const int64_t steps : {1, 2, 4, 7, 64}) {
    at::Tensor z = normal({2, 3, 4}, 5);
    for (int64_t i = 0; i < steps; ++i) {
      z = euler_step(z, data, static_cast<double>(i) / static_cast<double>(steps),
                     1.0 / static_cast<double>(steps));
    }
    EXPECT_TRUE(z.equal(data)) << steps << " steps";
  }
}

// v = (x_hat - z) / (1 - tau) points along the straight path: with the true data a step lands on
// it.
TEST(Sampler, StepsFollowTheStraightPath) {
  const at::Tensor data = normal({3, 4}, 1), noise = normal({3, 4}, 2);
  const at::Tensor stepped = euler_step(mix_noise(data, noise, 0.25), data, 0.25, 0.5);
  EXPECT_LT(relative_error(stepped, mix_noise(data, noise, 0.75)), 1e-5);
}

}  // namespace
}  // namespace praxino
