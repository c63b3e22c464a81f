// The step by kernels on a real GPU against the step by formulas on the CPU. Without a GPU all of
// this skips; the kernels run on the CPU in tests/kernels.
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <limits>

#include "kernels/device_info.h"
#include "praxino/ops/kernels.h"
#include "praxino/ops/parameter_update.h"
#include "small_model.h"
#include "support/nan_memory.h"
#include "support/weight_copies.h"

namespace praxino {
namespace {

using testing::normal;
using testing::relative_error;

struct Shape {
  std::vector<int64_t> sizes;
  ParameterRole role;
};

// Beside small ones: several chunks, sizes that 16-byte accesses do not divide, tall matrices.
const std::vector<Shape>& shapes() {
  static const std::vector<Shape> list = {
      {{4, 6}, ParameterRole::kMatrix},        {{4, 6}, ParameterRole::kMatrix},
      {{9, 3}, ParameterRole::kMatrix},        {{160, 96}, ParameterRole::kMatrix},
      {{33, 500}, ParameterRole::kProjection}, {{7}, ParameterRole::kVector},
      {{20'001}, ParameterRole::kVector}};
  return list;
}

Parameters model_on(at::Device device) {
  Parameters parameters;
  for (size_t i = 0; i < shapes().size(); ++i) {
    parameters.add("p" + std::to_string(i), normal(shapes()[i].sizes, i + 1).to(device),
                   shapes()[i].role);
  }
  return parameters;
}

void set_gradients(const Parameters& parameters, uint64_t seed, double scale = 1) {
  for (const Parameter& p : parameters.all()) {
    p.value.mutable_grad() = (normal(p.value.sizes(), ++seed) * scale).to(p.value.device());
  }
}

class OptimizerOnGpu : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    int count = 0;
    const kernels::Status status = kernels::device_count(count);
    if (!status.ok()) GTEST_SKIP() << "no usable GPU: " << kernels::status_text(status);
    if (!ops::ParameterUpdate::serves(normal({4}).to(at::kCUDA)))
      FAIL() << "the kernels of the optimizer do not serve on this GPU";
    config_.kind = GetParam();
    config_.weight_decay = 0.1;
    config_.clip = 30;
  }
  OptimConfig config_;

 private:
  testing::NanMemory memory_;
};

struct Side {
  explicit Side(const OptimConfig& config, at::Device device)
      : parameters(model_on(device)),
        ema(0.99, parameters),
        optimizer(make_optimizer(config, parameters, {}, &ema)) {
    keep_copies(parameters);
    refresh_copies(parameters);
  }
  auto state() const {
    auto all = optimizer->state();
    for (const auto& average : ema.averages())
      all.emplace_back("ema." + average.first, average.second);
    all.emplace_back("updates", ema.updates());
    return all;
  }
  Parameters parameters;
  Ema ema;
  std::unique_ptr<Optimizer> optimizer;
};

TEST_P(OptimizerOnGpu, GoesWhereTheFormulasGo) {
  Side cpu(config_, at::kCPU), gpu(config_, at::kCUDA);
  for (uint64_t step = 0; step < 5; ++step) {
    StepStats stats[2];
    for (Side* side : {&cpu, &gpu}) {
      set_gradients(side->parameters, 10 * step, step == 3 ? 1e-3 : 1);
      const at::Tensor loss = at::full({}, step == 2 ? std::nan("") : 1.0);
      stats[side == &gpu] = side->optimizer->step(loss.to(side->parameters.all()[0].value.device()),
                                                  1.0 / static_cast<double>(step + 1));
    }
    EXPECT_EQ(stats[1].skipped.item<float>(), step == 2 ? 1 : 0);
    EXPECT_LT(relative_error(stats[1].gradient_norm.cpu(), stats[0].gradient_norm), 1e-6);
    EXPECT_EQ(testing::current_copies(gpu.parameters), testing::matrices(gpu.parameters));
  }
  const auto want = testing::snapshot(cpu.parameters, cpu.state());
  // Muon's directions come from bf16 products, on the GPU of another order; see docs/numerics.md.
  for (const auto& [name, tensor] : testing::snapshot(gpu.parameters, gpu.state()))
    EXPECT_LT(relative_error(tensor.cpu(), want.at(name)), 2e-3) << name;
}

TEST_P(OptimizerOnGpu, KeepsEveryBitOfASkippedStep) {
  Side gpu(config_, at::kCUDA);
  set_gradients(gpu.parameters, 1);
  gpu.optimizer->step(normal({}).to(at::kCUDA), 1);
  const auto before = testing::snapshot(gpu.parameters, gpu.state());
  for (const Parameter& victim : gpu.parameters.all()) {
    set_gradients(gpu.parameters, 2);
    victim.value.grad().flatten()[-1].fill_(std::numeric_limits<float>::infinity());
    EXPECT_EQ(gpu.optimizer->step(normal({}).to(at::kCUDA), 1).skipped.item<float>(), 1);
    EXPECT_EQ(testing::first_change(before, testing::snapshot(gpu.parameters, gpu.state())), "");
  }
}

TEST_P(OptimizerOnGpu, GivesEqualBitsAHundredTimes) {
  std::map<std::string, at::Tensor> first;
  for (int repetition = 0; repetition < 100; ++repetition) {
    Side gpu(config_, at::kCUDA);
    set_gradients(gpu.parameters, 1);
    gpu.optimizer->step(normal({}).to(at::kCUDA), 1);
    const auto now = testing::snapshot(gpu.parameters, gpu.state());
    if (repetition == 0) first = now;
    ASSERT_EQ(testing::first_change(first, now), "") << repetition;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, OptimizerOnGpu, ::testing::Values("muon", "adamw"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace praxino
