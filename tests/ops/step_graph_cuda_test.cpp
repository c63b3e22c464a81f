// Recording on a real GPU. Without one, all of this skips; when a step is recorded and replayed is
// tested on the CPU (step_graph_test.cpp).
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include "kernels/device_info.h"
#include "ops/launch_cuda.h"
#include "praxino/ops/attention.h"
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

// What a rollout's frame is made of: a slot and times in tensors, tables of angles made on the way.
TEST_F(StepGraphOnGpu, ReplaysAFrameOverACacheWhoseSlotsTakeTurns) {
  constexpr int64_t kSlots = 3, kPlaces = 5, kHeads = 2, kWidth = 64;
  const at::NoGradGuard no_gradient;
  const auto floats = at::TensorOptions(at::kFloat).device(at::kCUDA);
  const auto table = [&](const at::Tensor& times) {
    const int64_t t = times.size(0);
    const at::Tensor time = times.unsqueeze(1).expand({t, kPlaces}).reshape({-1, 1});
    return rope_table(at::cat({time, at::zeros({t * kPlaces, 2}, floats)}, 1),
                      rope_split_time(kWidth), 1e4);
  };
  const auto frames = [&](std::unique_ptr<StepRecorder> recorder, int64_t replays) {
    at::Tensor keys = at::zeros({1, kSlots, kPlaces, kHeads, kWidth}, floats);
    at::Tensor values = at::zeros_like(keys);
    const at::Tensor gain = at::ones({kWidth}, floats);
    StepGraph graph(
        [&](const Tensors& in) -> Tensors {
          keys.index_copy_(1, in[1], in[0]);
          values.index_copy_(1, in[1], in[0] * 2);
          const QkNorm norm{.query_gain = gain,
                            .key_gain = gain,
                            .queries = table(in[2].narrow(0, 0, 1)),
                            .keys = table(in[2].narrow(0, 1, kSlots))};
          return {time_attention_step(in[0], keys, values, norm)};
        },
        [] {}, std::move(recorder));
    std::vector<at::Tensor> seen;
    for (int64_t frame = 0; frame < 10; ++frame) {
      const at::Tensor times = (at::arange(kSlots + 1, floats) + static_cast<double>(frame))
                                   .remainder(static_cast<double>(kSlots));
      const at::Tensor now =
          normal({1, 1, kPlaces, kHeads, kWidth}, static_cast<uint64_t>(frame)).to(at::kCUDA);
      const at::Tensor slot = at::full({1}, frame % kSlots, floats.dtype(at::kLong));
      seen.push_back(graph.run({now, slot, times})[0].cpu());
    }
    EXPECT_EQ(graph.replays(), replays);
    return at::stack(seen);
  };
  const at::Tensor plain = frames(nullptr, 0);
  EXPECT_TRUE(testing::same_bits(frames(make_recorder(at::Device(at::kCUDA, 0)), 7), plain));
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
