// The optimizer's step by kernels, which run on the CPU, and the copies of the weights that they
// write.
#include "optim/device_step.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <limits>
#include <memory>

#include "ops/on_cpu.h"
#include "small_model.h"
#include "support/weight_copies.h"

namespace praxino {
namespace {

/// Small matrices of an optimizer and its others, and what updates them.
struct Side {
  explicit Side(bool muon) {
    keep_copies(parameters);
    refresh_copies(parameters);
    std::vector<Parameter> matrices, others;
    for (const Parameter& p : parameters.all())
      (p.role == ParameterRole::kMatrix ? matrices : others).push_back(p);
    of_muon = std::make_unique<Muon>(Muon::Options{}, muon ? matrices : std::vector<Parameter>{});
    decayed = std::make_unique<AdamW>(AdamW::Options{.weight_decay = 0.1},
                                      muon ? std::vector<Parameter>{} : matrices);
    plain = std::make_unique<AdamW>(AdamW::Options{}, others);
    averages = std::make_unique<Ema>(0.9, parameters);
    step = std::make_unique<DeviceStep>(OptimConfig{}, *of_muon, *decayed, *plain, averages.get());
  }
  StepStats take() const {
    std::vector<at::Tensor> gradients;
    for (const auto* group :
         {&of_muon->parameters(), &decayed->parameters(), &plain->parameters()}) {
      for (const at::Tensor& parameter : *group) gradients.push_back(parameter.grad());
    }
    return step->step(gradients, {.loss = at::zeros({}), .steps = steps, .rate = at::ones({})}, {});
  }
  Parameters parameters = testing::small_model();
  std::unique_ptr<Muon> of_muon;
  std::unique_ptr<AdamW> decayed, plain;
  std::unique_ptr<Ema> averages;
  std::unique_ptr<DeviceStep> step;
  at::Tensor steps = at::zeros({});
};

class DeviceStepOnCpu : public ops::OnCpu, public ::testing::WithParamInterface<bool> {};

// Taken or skipped, without a word to the host: a CUDA graph that is replayed has none either.
TEST_P(DeviceStepOnCpu, WritesCopiesThatAreAlwaysTheWeightsRounded) {
  const Side side(GetParam());
  const at::NoGradGuard no_grad;
  testing::WeightCasts casts(side.parameters);
  for (uint64_t step = 0; step < 4; ++step) {
    const auto before = testing::snapshot(side.parameters, {});
    testing::set_gradients(side.parameters, 10 * step);
    const bool spoiled = step == 2;
    if (spoiled)
      side.parameters.all()[1].value.grad()[0][0] = std::numeric_limits<float>::infinity();
    EXPECT_EQ(side.take().skipped.item<float>(), spoiled ? 1 : 0);
    const auto after = testing::snapshot(side.parameters, {});
    EXPECT_EQ(testing::first_change(before, after).empty(), spoiled);
    EXPECT_EQ(casts.take(), 0) << step;
    EXPECT_EQ(testing::current_copies(side.parameters), 3);
    casts.take();
  }
  EXPECT_GT(cuda_.launches(), 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, DeviceStepOnCpu, ::testing::Bool(),
                         [](const auto& each) { return each.param ? "muon" : "adamw"; });

}  // namespace
}  // namespace praxino
