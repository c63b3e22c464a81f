#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "small_model.h"

namespace praxino {
namespace {

using testing::first_change;
using testing::normal;
using testing::small_model;
using testing::snapshot;

const at::Tensor kTaken = at::full({}, 0.0F);
const at::Tensor kSkipped = at::full({}, 1.0F);

void move_weights(const Parameters& parameters, uint64_t seed) {
  const at::NoGradGuard no_grad;
  for (const Parameter& parameter : parameters.all()) {
    parameter.value.add_(normal(parameter.value.sizes(), ++seed));
  }
}

/// All that a checkpoint keeps of it.
std::vector<std::pair<std::string, at::Tensor>> state(const Ema& ema) {
  auto all = ema.averages();
  all.emplace_back("updates", ema.updates());
  return all;
}

at::Tensor of(const Ema& ema, const std::string& name) {
  for (const auto& [key, tensor] : state(ema)) {
    if (key == name) return tensor;
  }
  return {};
}

TEST(Ema, FollowsTheFormulaWithItsWarmUp) {
  const Parameters parameters = small_model();
  Ema ema(0.5, parameters);
  at::Tensor want = parameters.find("gain")->value.detach().to(at::kDouble);
  for (int n = 0; n < 20; ++n) {
    move_weights(parameters, 100 * n);
    ema.update(kTaken);
    const double decay = std::min(0.5, (1.0 + n) / (10.0 + n));
    want = decay * want + (1 - decay) * parameters.find("gain")->value.detach().to(at::kDouble);
  }
  EXPECT_LT(testing::relative_error(of(ema, "gain"), want), 1e-6);
  EXPECT_EQ(of(ema, "updates").item<float>(), 20);
}

TEST(Ema, KeepsEveryBitAfterASkippedStep) {
  const Parameters parameters = small_model();
  {
    const at::NoGradGuard no_grad;
    parameters.find("gain")->value.fill_(-0.0);
  }
  Ema ema(0.9, parameters);
  move_weights(parameters, 7);
  const auto before = snapshot(parameters, state(ema));
  ema.update(kSkipped);
  EXPECT_EQ(first_change(before, snapshot(parameters, state(ema))), "");
}

TEST(Ema, SwapsTheAveragesInAndBackToTheBit) {
  const Parameters parameters = small_model();
  Ema ema(0.9, parameters);
  move_weights(parameters, 7);
  ema.update(kTaken);
  const auto before = snapshot(parameters, state(ema));
  const at::Tensor average = of(ema, "gain").clone();
  ema.swap();
  EXPECT_TRUE(parameters.find("gain")->value.equal(average));
  EXPECT_THROW(ema.update(kTaken), c10::Error);
  EXPECT_THROW(ema.averages(), c10::Error);
  ema.swap();
  EXPECT_EQ(first_change(before, snapshot(parameters, state(ema))), "");
}

TEST(Ema, GoesOnBitwiseFromCopiedState) {
  const Parameters one = small_model();
  const Parameters two = small_model();
  Ema first(0.9, one);
  move_weights(one, 3);
  move_weights(two, 3);
  first.update(kTaken);
  Ema second(0.9, two);
  const auto target = state(second);
  for (size_t i = 0; i < target.size(); ++i) target[i].second.copy_(state(first)[i].second);
  for (Ema* ema : {&first, &second}) ema->update(kTaken);
  EXPECT_EQ(first_change(snapshot(one, state(first)), snapshot(two, state(second))), "");
}

TEST(Ema, IsUpdatedByAnOptimizerThatKnowsItAsByHand) {
  const Parameters one = small_model(), two = small_model();
  Ema known(0.9, one), by_hand(0.9, two);
  const auto knowing = make_optimizer({}, one, {}, &known), other = make_optimizer({}, two);
  for (uint64_t seed : {1, 2, 3}) {
    testing::take_step(*knowing, one, seed);
    by_hand.update(testing::take_step(*other, two, seed).skipped);
  }
  EXPECT_EQ(first_change(snapshot(one, state(known)), snapshot(two, state(by_hand))), "");
}

TEST(Ema, LeavesLentAveragesToTheBorrower) {
  const Parameters parameters = small_model();
  Ema ema(0.9, parameters);
  const std::vector<at::Tensor> lent =
      ema.lend({parameters.find("gain")->value, parameters.find("a.weight")->value});
  ASSERT_EQ(lent.size(), 2U);
  EXPECT_TRUE(lent[0].is_same(of(ema, "gain")));
  move_weights(parameters, 7);
  const at::Tensor gain = lent[0].clone(), other = of(ema, "b.weight").clone();
  ema.update_rest(kTaken, at::full({}, 0.5F));
  EXPECT_TRUE(of(ema, "gain").equal(gain));
  EXPECT_FALSE(of(ema, "b.weight").equal(other));
  EXPECT_EQ(ema.updates().item<float>(), 0);
  EXPECT_THROW(ema.lend({normal({3})}), c10::Error);
}

TEST(Ema, IsNothingWhenItIsOff) {
  const Parameters parameters = small_model();
  Ema ema(0, parameters);
  const auto before = snapshot(parameters, {});
  EXPECT_FALSE(ema.enabled());
  ema.update(kTaken);
  ema.swap();
  EXPECT_TRUE(ema.averages().empty());
  EXPECT_EQ(first_change(before, snapshot(parameters, {})), "");
}

}  // namespace
}  // namespace praxino
