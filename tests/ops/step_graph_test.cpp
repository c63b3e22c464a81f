// When a step is run, recorded and replayed, on the CPU with a recorder that plays a GPU: what it
// records runs at replay, on the same tensors.
#include "praxino/ops/step_graph.h"

#include <ATen/ops/zeros.h>

#include <stdexcept>

#include "support/tensors.h"

namespace praxino::ops {
namespace {

using testing::normal;
using Tensors = StepGraph::Tensors;

// What recorders and steps of a test share.
struct Bench {
  bool recording = false;
  int recordings = 0, replays = 0, eager = 0, recoveries = 0;
  bool refuses = false;               // the step cannot be recorded
  std::function<void()> device_work;  // of the step that is being recorded
  at::Tensor weight = at::zeros({3});
};

class FakeStep final : public RecordedStep {
 public:
  FakeStep(Bench& bench, std::function<void()> work) : bench_(bench), work_(std::move(work)) {}
  void replay() override {
    ++bench_.replays;
    work_();
  }

 private:
  Bench& bench_;
  std::function<void()> work_;
};

class FakeRecorder final : public StepRecorder {
 public:
  explicit FakeRecorder(Bench& bench) : bench_(bench) {}
  std::unique_ptr<RecordedStep> record(const std::function<void()>& step) override {
    ++bench_.recordings;
    bench_.recording = true;
    struct End {
      bool& flag;
      ~End() { flag = false; }
    } const end{bench_.recording};
    step();
    return std::make_unique<FakeStep>(bench_, bench_.device_work);
  }

 private:
  Bench& bench_;
};

// weight += sum of the input; the output is a copy of it. While it is recorded, nothing happens.
Tensors step_of(Bench& bench, const Tensors& inputs) {
  const at::Tensor output = at::zeros({3}), input = inputs[0], weight = bench.weight;
  const auto work = [output, input, weight] {
    at::Tensor(weight).add_(input.sum());
    at::Tensor(output).copy_(weight);
  };
  if (bench.recording) {
    if (bench.refuses) throw std::runtime_error("it waited for the device\nwith details");
    bench.device_work = work;
  } else {
    ++bench.eager;
    work();
  }
  return {output};
}

StepGraph graph_of(Bench& bench, StepGraphOptions options = {}, bool with_recorder = true) {
  return StepGraph([&bench](const Tensors& inputs) { return step_of(bench, inputs); },
                   [&bench] { ++bench.recoveries; },
                   with_recorder ? std::make_unique<FakeRecorder>(bench) : nullptr, {bench.weight},
                   std::move(options));
}

TEST(StepGraph, ReplaysAfterItsWarmUpWithTheResultsOfTheStep) {
  Bench bench, plain;
  StepGraph graph = graph_of(bench), eager = graph_of(plain, {}, /*with_recorder=*/false);
  for (uint64_t i = 0; i < 8; ++i) {
    const at::Tensor input = normal({4}, i);
    const at::Tensor got = graph.run({input})[0].clone();
    EXPECT_TRUE(testing::same_bits(got, eager.run({input})[0])) << i;
  }
  EXPECT_EQ(bench.eager, 3);
  EXPECT_EQ(bench.recordings, 1);
  EXPECT_EQ(bench.replays, 5);
  EXPECT_EQ(graph.replays(), 5);
  EXPECT_EQ(graph.recorded(), 1U);
  EXPECT_EQ(plain.eager, 8);
  EXPECT_TRUE(eager.gave_up());
}

TEST(StepGraph, TakesInputsThatAreGoneAfterwards) {
  Bench bench;
  StepGraph graph = graph_of(bench, {.warm_up = 1});
  for (int i = 0; i < 4; ++i) {
    at::Tensor input = at::zeros({4}) + 1;
    graph.run({input});
    input.fill_(1000);
  }
  EXPECT_EQ(bench.weight[0].item<float>(), 16);
}

TEST(StepGraph, RecordsEachShapeByItselfUpToItsBound) {
  Bench bench;
  StepGraph graph = graph_of(bench, {.warm_up = 1, .most_shapes = 2});
  for (int round = 0; round < 3; ++round) {
    for (const int64_t size : {4, 5, 6}) graph.run({normal({size})});
  }
  EXPECT_EQ(graph.recorded(), 2U);
  EXPECT_EQ(bench.recordings, 2);
  EXPECT_EQ(bench.replays, 4);
  EXPECT_EQ(bench.eager, 2 + 3);
}

TEST(StepGraph, TellsTypesAndNumbersOfDimensionsApart) {
  Bench bench;
  StepGraph graph = graph_of(bench, {.warm_up = 1});
  for (int round = 0; round < 2; ++round) {
    graph.run({normal({4})});
    graph.run({normal({4}).to(at::kDouble)});
    graph.run({normal({2, 2})});
    graph.run({normal({4}), normal({1})});
  }
  EXPECT_EQ(bench.recordings, 4);
}

TEST(StepGraph, RunsAShapeThatCannotBeRecordedAndTriesItOnce) {
  Bench bench;
  bench.refuses = true;
  StepGraph graph = graph_of(bench, {.warm_up = 1});
  for (int i = 0; i < 4; ++i) graph.run({at::zeros({4}) + 1});
  EXPECT_EQ(bench.recordings, 1);
  EXPECT_EQ(bench.recoveries, 1);
  EXPECT_EQ(bench.eager, 4);
  EXPECT_EQ(bench.weight[0].item<float>(), 16) << "a step was lost, or taken twice";
  EXPECT_FALSE(graph.gave_up());
  bench.refuses = false;
  for (int i = 0; i < 3; ++i) graph.run({normal({5})});
  EXPECT_EQ(graph.recorded(), 1U);
}

TEST(StepGraph, RecordsAnewWhereWatchedMemoryMovesUntilItMovesTooOften) {
  Bench bench;
  StepGraph graph = graph_of(bench, {.warm_up = 1, .most_moves = 2});
  for (int move = 0; move < 4; ++move) {
    for (int i = 0; i < 3; ++i) graph.run({at::zeros({4}) + 1});
    bench.weight.set_data(bench.weight.clone());
  }
  EXPECT_EQ(bench.recordings, 3);
  EXPECT_TRUE(graph.gave_up());
  EXPECT_EQ(graph.recorded(), 0U);
  EXPECT_EQ(bench.weight[0].item<float>(), 48) << "a replay wrote to memory that was left";
}

TEST(StepGraph, ForgetsWhenItIsToldTo) {
  Bench bench;
  StepGraph graph = graph_of(bench, {.warm_up = 2});
  for (int i = 0; i < 3; ++i) graph.run({normal({4})});
  graph.invalidate();
  EXPECT_EQ(graph.recorded(), 0U);
  for (int i = 0; i < 3; ++i) graph.run({normal({4})});
  EXPECT_EQ(bench.eager, 4);
  EXPECT_EQ(bench.recordings, 2);
}

TEST(StepGraph, PassesOnWhatTheStepItselfThrows) {
  StepGraph graph([](const Tensors&) -> Tensors { throw std::runtime_error("broken"); }, [] {},
                  nullptr);
  EXPECT_THROW(graph.run({normal({1})}), std::runtime_error);
  EXPECT_THROW(StepGraph([](const Tensors& in) { return in; }, [] {}, nullptr, {}, {.warm_up = 0}),
               c10::Error);
}

TEST(StepGraph, HasNoRecorderOnTheCpu) { EXPECT_EQ(make_recorder(at::kCPU), nullptr); }

}  // namespace
}  // namespace praxino::ops
