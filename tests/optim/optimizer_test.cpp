#include "praxino/optim/optimizer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "small_model.h"
#include "support/weight_copies.h"

namespace praxino {
namespace {

using testing::first_change;
using testing::normal;
using testing::set_gradients;
using testing::small_model;
using testing::snapshot;
using testing::take_step;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

OptimConfig config_of(const std::string& kind) {
  OptimConfig config;
  config.kind = kind;
  return config;
}

class BothOptimizers : public ::testing::TestWithParam<const char*> {
 protected:
  OptimConfig config_ = config_of(GetParam());
  Parameters parameters_ = small_model();
};

TEST_P(BothOptimizers, ReachTheBottomOfABowl) {
  const Parameters target = small_model(50);
  config_.lr = 0.1;
  config_.adamw_lr = 0.1;
  config_.weight_decay = 0;
  const auto optimizer = make_optimizer(config_, parameters_);
  const auto loss = [&] {
    at::Tensor sum = at::full({}, 0.0F);
    for (const Parameter& p : parameters_.all()) {
      sum = sum + (p.value - target.find(p.name)->value.detach()).square().sum();
    }
    return sum;
  };
  const double start = loss().item<double>();
  for (int i = 0; i < 300; ++i) {
    const at::Tensor value = loss();
    value.backward();
    // Both step by about the rate, however close the bottom is: it has to fall to zero.
    optimizer->step(value, std::pow(1 - i / 300.0, 2));
  }
  EXPECT_LT(loss().item<double>(), 1e-3 * start);
}

TEST_P(BothOptimizers, WriteTheCopiesOfMatrices) {
  keep_copies(parameters_);
  refresh_copies(parameters_);
  const auto optimizer = make_optimizer(config_, parameters_);
  testing::WeightCasts casts(parameters_);
  for (uint64_t step = 0; step < 3; ++step) {
    set_gradients(parameters_, 10 * step);
    const at::Tensor loss = at::full({}, step == 1 ? kNaN : 1.0);
    EXPECT_EQ(optimizer->step(loss, 1).skipped.item<float>(), step == 1 ? 1 : 0);
    EXPECT_EQ(casts.take(), 3) << "each matrix once";
    EXPECT_EQ(testing::current_copies(parameters_), 3);
    casts.take();
  }
}

// AdamW's fused kernel changes weights behind the back of their version counters.
TEST_P(BothOptimizers, ShowThatWeightsHaveChanged) {
  std::vector<int64_t> before;
  for (const Parameter& p : parameters_.all()) before.push_back(p.value._version());
  const auto optimizer = make_optimizer(config_, parameters_);
  take_step(*optimizer, parameters_, 1);
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_GT(parameters_.all()[i].value._version(), before[i]) << parameters_.all()[i].name;
}

/// Breaks one thing about a step.
struct Fault {
  const char* story;
  double loss;
  double gradient;  // of one element of one parameter
};

TEST_P(BothOptimizers, KeepEveryBitWhenAStepIsNotFinite) {
  {
    const at::NoGradGuard no_grad;
    parameters_.find("a.weight")->value[0].fill_(-0.0);
    parameters_.find("gain")->value.fill_(-0.0);
  }
  const auto optimizer = make_optimizer(config_, parameters_);
  take_step(*optimizer, parameters_, 1);
  const auto before = snapshot(parameters_, optimizer->state());
  for (const Fault& fault : {Fault{"NaN loss", kNaN, 0},
                             {"infinite loss", -kInfinity, 0},
                             {"NaN gradient", 1, kNaN},
                             {"infinite gradient", 1, kInfinity},
                             {"overflowing norm", 1, 1e30}}) {
    for (const Parameter& victim : parameters_.all()) {
      set_gradients(parameters_, 77);
      victim.value.grad().flatten()[0].fill_(fault.gradient);
      const StepStats stats = optimizer->step(at::full({}, fault.loss), 1);
      EXPECT_EQ(stats.skipped.item<float>(), 1) << fault.story << " in " << victim.name;
      EXPECT_EQ(first_change(before, snapshot(parameters_, optimizer->state())), "")
          << fault.story << " in " << victim.name;
    }
  }
}

TEST_P(BothOptimizers, GoOnAfterASkippedStepAsIfItHadNotBeen) {
  const Parameters undisturbed = small_model();
  const auto optimizer = make_optimizer(config_, parameters_);
  const auto other = make_optimizer(config_, undisturbed);
  for (uint64_t seed : {1, 2, 3}) {
    set_gradients(parameters_, 9);
    optimizer->step(at::full({}, kNaN), 1);
    EXPECT_EQ(take_step(*optimizer, parameters_, seed).skipped.item<float>(), 0);
    take_step(*other, undisturbed, seed);
  }
  EXPECT_EQ(first_change(snapshot(parameters_, optimizer->state()),
                         snapshot(undisturbed, other->state())),
            "");
}

TEST_P(BothOptimizers, ResumeBitwiseFromCopiedState) {
  const Parameters second = small_model(900);
  const auto optimizer = make_optimizer(config_, parameters_);
  for (uint64_t seed : {1, 2, 3}) take_step(*optimizer, parameters_, seed);

  const auto resumed = make_optimizer(config_, second);
  {
    const at::NoGradGuard no_grad;
    for (const Parameter& p : second.all()) p.value.copy_(parameters_.find(p.name)->value);
  }
  const auto from = optimizer->state();
  const auto to = resumed->state();
  ASSERT_EQ(from.size(), to.size());
  for (size_t i = 0; i < to.size(); ++i) {
    ASSERT_EQ(from[i].first, to[i].first);
    to[i].second.copy_(from[i].second);
  }
  for (uint64_t seed : {4, 5}) {
    take_step(*optimizer, parameters_, seed, 0.7);
    take_step(*resumed, second, seed, 0.7);
  }
  EXPECT_EQ(
      first_change(snapshot(parameters_, optimizer->state()), snapshot(second, resumed->state())),
      "");
}

TEST_P(BothOptimizers, TreatAMissingGradientAsZeros) {
  const Parameters zeros = small_model();
  const auto optimizer = make_optimizer(config_, parameters_);
  const auto other = make_optimizer(config_, zeros);
  for (const char* absent : {"b.weight", "in.weight", "gain"}) {
    set_gradients(parameters_, 1);
    set_gradients(zeros, 1);
    parameters_.find(absent)->value.mutable_grad() = at::Tensor();
    zeros.find(absent)->value.grad().zero_();
    optimizer->step(normal({}), 1);
    other->step(normal({}), 1);
  }
  EXPECT_EQ(
      first_change(snapshot(parameters_, optimizer->state()), snapshot(zeros, other->state())), "");
}

TEST_P(BothOptimizers, LeaveFrozenParametersAlone) {
  parameters_.find("a.weight")->value.set_requires_grad(false);
  parameters_.find("gain")->value.set_requires_grad(false);
  const auto optimizer = make_optimizer(config_, parameters_);
  const auto before = snapshot(parameters_, {});
  take_step(*optimizer, parameters_, 1);
  const auto after = snapshot(parameters_, {});
  for (const char* name : {"weight a.weight", "weight gain"}) {
    EXPECT_TRUE(before.at(name).equal(after.at(name))) << name;
  }
  EXPECT_FALSE(before.at("weight b.weight").equal(after.at("weight b.weight")));
  for (const auto& [name, tensor] : optimizer->state()) EXPECT_EQ(name.find(".gain"), name.npos);
}

INSTANTIATE_TEST_SUITE_P(Kinds, BothOptimizers, ::testing::Values("muon", "adamw"),
                         [](const auto& each) { return std::string(each.param); });

TEST(Optimizer, ReportsTheNormOverAllGradientsBeforeClipping) {
  const Parameters parameters = small_model();
  const auto optimizer = make_optimizer(config_of("muon"), parameters);
  set_gradients(parameters, 4, 100);
  double squares = 0;
  for (const Parameter& p : parameters.all()) {
    squares += p.value.grad().to(at::kDouble).square().sum().item<double>();
  }
  const StepStats stats = optimizer->step(normal({}), 0.5);
  EXPECT_NEAR(stats.gradient_norm.item<double>() / std::sqrt(squares), 1, 1e-6);
  EXPECT_DOUBLE_EQ(stats.learning_rate, 0.5 * OptimConfig{}.lr);
}

TEST(Optimizer, ClipsByTheGlobalNorm) {
  // AdamW's first moment after one step is (1 - beta) times the clipped gradient; Muon's likewise.
  OptimConfig config = config_of("muon");
  config.clip = 0.5;
  for (const double scale : {100.0, 1e-3}) {
    const Parameters parameters = small_model();
    const auto optimizer = make_optimizer(config, parameters);
    set_gradients(parameters, 4, scale);
    std::map<std::string, at::Tensor> want;
    for (const Parameter& p : parameters.all()) want[p.name] = p.value.grad().clone();
    const double norm = optimizer->step(normal({}), 1).gradient_norm.item<double>();
    const double factor = std::min(1.0, 0.5 / norm);
    for (const auto& [name, tensor] : optimizer->state()) {
      const bool momentum = name.starts_with("momentum.");
      if (!momentum && !name.starts_with("exp_avg.")) continue;
      const double share = momentum ? 1 - config.momentum : 1 - config.betas[0];
      const at::Tensor gradient = want.at(name.substr(name.find('.') + 1));
      EXPECT_LT(testing::relative_error(tensor, gradient * (share * factor)), 1e-6) << name;
    }
  }
}

TEST(Optimizer, DoesNotClipWhenTheLimitIsZero) {
  OptimConfig config = config_of("adamw");
  config.clip = 0;
  const Parameters parameters = small_model();
  const auto optimizer = make_optimizer(config, parameters);
  set_gradients(parameters, 4, 1000);
  const at::Tensor gradient = parameters.find("gain")->value.grad().clone();
  optimizer->step(normal({}), 1);
  for (const auto& [name, tensor] : optimizer->state()) {
    if (name == "exp_avg.gain") {
      EXPECT_LT(testing::relative_error(tensor, gradient * (1 - config.betas[0])), 1e-6);
    }
  }
}

TEST(Optimizer, ClearsGradientsAfterTheStep) {
  const Parameters parameters = small_model();
  const auto optimizer = make_optimizer(config_of("muon"), parameters);
  take_step(*optimizer, parameters, 1);
  for (const Parameter& p : parameters.all()) EXPECT_FALSE(p.value.grad().defined()) << p.name;
}

TEST(Optimizer, RefusesAStepWithoutAnyGradient) {
  const Parameters parameters = small_model();
  const auto optimizer = make_optimizer(config_of("muon"), parameters);
  EXPECT_THROW(optimizer->step(normal({}), 1), c10::Error);
}

TEST(Optimizer, NamesItsStateByParameter) {
  const Parameters parameters = small_model();
  std::vector<std::string> names;
  for (const auto& [name, tensor] : make_optimizer(config_of("muon"), parameters)->state()) {
    names.push_back(name);
  }
  const std::vector<std::string> want = {
      "momentum.a.weight",    "momentum.b.weight", "momentum.tall.weight", "exp_avg.in.weight",
      "exp_avg_sq.in.weight", "exp_avg.gain",      "exp_avg_sq.gain",      "steps"};
  EXPECT_EQ(names, want);
}

}  // namespace
}  // namespace praxino
