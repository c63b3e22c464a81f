// Recording on a real GPU. Without one, all of this skips; when a step is recorded and replayed is
// tested on the CPU (step_graph_test.cpp).
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include "kernels/device_info.h"
#include "ops/launch_cuda.h"
#include "praxino/ops/step_graph.h"
#include "support/tensors.h"

namespace praxino::ops {
namespace {

using testing::normal;
using Tensors = StepGraph::Tensors;

class StepGraphOnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    const kernels::Status status = kernels::device_count(count);
    if (!status.ok()) GTEST_SKIP() << "no usable GPU: " << kernels::status_text(status);
    use_cuda_graphs();
    state_ = at::zeros({64, 64}, at::TensorOptions(at::kFloat).device(at::kCUDA));
  }
  // Products, memory of its own, a backward pass, and state in place.
  Tensors learn(const Tensors& in) {
    const at::Tensor weight = state_.detach().clone().requires_grad_();
    const at::Tensor loss = (in[0].matmul(weight + 1)).square().mean();
    loss.backward();
    state_.sub_(weight.grad() * 0.01);
    return {loss.detach()};
  }
  at::Tensor state_;
};

TEST_F(StepGraphOnGpu, ReplaysGiveTheResultsOfTheStep) {
  std::vector<double> losses[2];
  at::Tensor states[2];
  for (const bool recorded : {false, true}) {
    state_.zero_();
    StepGraph graph([&](const Tensors& in) { return learn(in); }, [] {},
                    recorded ? make_recorder(at::Device(at::kCUDA, 0)) : nullptr, {state_});
    for (uint64_t i = 0; i < 20; ++i)
      losses[recorded].push_back(graph.run({normal({32, 64}, i).to(at::kCUDA)})[0].item<double>());
    states[recorded] = state_.clone();
    EXPECT_EQ(graph.replays(), recorded ? 17 : 0);
  }
  for (size_t i = 0; i < 20; ++i) EXPECT_NEAR(losses[1][i], losses[0][i], 1e-5 * losses[0][i]);
  EXPECT_LT(testing::relative_error(states[1], states[0]), 1e-5);
}

TEST_F(StepGraphOnGpu, AStepThatWaitsForTheDeviceRunsAsItIs) {
  int steps = 0, recoveries = 0;
  StepGraph graph(
      [&](const Tensors& in) -> Tensors {
        state_.add_(in[0].sum().item<float>());
        ++steps;
        return {state_.sum()};
      },
      [&] { ++recoveries; }, make_recorder(at::Device(at::kCUDA, 0)), {}, {.warm_up = 1});
  at::Tensor last;
  for (int i = 0; i < 5; ++i) last = graph.run({at::zeros({4}, state_.options()) + 1})[0];
  EXPECT_EQ(steps, 5);
  EXPECT_EQ(recoveries, 1);
  EXPECT_EQ(last.item<float>(), 64 * 64 * 20);
}

}  // namespace
}  // namespace praxino::ops
