#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>

#include "small_model.h"

namespace praxino {
namespace {

using testing::normal;
using testing::relative_error;
using testing::take_step;

/// The textbook, in double.
struct Reference {
  at::Tensor w, m, v;
  int64_t t = 0;

  void step(const at::Tensor& gradient, double lr, double decay, std::array<double, 2> betas) {
    const at::Tensor g = gradient.to(at::kDouble);
    ++t;
    m = betas[0] * m + (1 - betas[0]) * g;
    v = betas[1] * v + (1 - betas[1]) * g * g;
    const at::Tensor m_hat = m / (1 - std::pow(betas[0], t));
    const at::Tensor v_hat = v / (1 - std::pow(betas[1], t));
    w = w - lr * decay * w - lr * m_hat / (v_hat.sqrt() + 1e-8);
  }
};

struct Case {
  const char* story;
  const char* kind;
  ParameterRole role;
  double rate;   // expected
  double decay;  // expected
};

class AdamWFormula : public ::testing::TestWithParam<Case> {};

TEST_P(AdamWFormula, MatchesTheTextbookInDouble) {
  OptimConfig config;
  config.kind = GetParam().kind;
  config.lr = 0.02;
  config.adamw_lr = 0.003;
  config.weight_decay = 0.1;
  config.clip = 0;
  Parameters parameters;
  const at::Tensor w = parameters.add("w", normal({6, 5}, 9), GetParam().role);
  Reference want{
      .w = w.detach().to(at::kDouble), .m = at::zeros_like(w.detach().to(at::kDouble)), .v = {}};
  want.v = want.m.clone();
  const auto optimizer = make_optimizer(config, parameters);
  for (uint64_t i = 0; i < 30; ++i) {
    const double rate = 1.0 / static_cast<double>(i + 1);
    testing::set_gradients(parameters, i);
    want.step(w.grad(), GetParam().rate * rate, GetParam().decay, config.betas);
    optimizer->step(normal({}), rate);
  }
  EXPECT_LT(relative_error(w.detach(), want.w), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(
    Roles, AdamWFormula,
    ::testing::Values(Case{"ProjectionBesideMuon", "muon", ParameterRole::kProjection, 0.003, 0.1},
                      Case{"VectorBesideMuon", "muon", ParameterRole::kVector, 0.003, 0},
                      Case{"MatrixAlone", "adamw", ParameterRole::kMatrix, 0.02, 0.1},
                      Case{"VectorAlone", "adamw", ParameterRole::kVector, 0.02, 0}),
    [](const auto& each) { return std::string(each.param.story); });

}  // namespace
}  // namespace praxino
