#include "praxino/bench/ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "bench/cases.h"
#include "bench/replay.h"
#include "bench/stopwatch.h"
#include "kernels/time_tiles.h"
#include "ops/step_graph_maker.h"
#include "praxino/base/error.h"
#include "praxino/ops/kernels.h"
#include "support/error_text.h"

namespace praxino::bench {
namespace {

using ::testing::HasSubstr;

OpsOptions quick(at::ScalarType type) {
  return {.type = type, .small = true, .repetitions = 3, .warm_up_seconds = 0, .pause_seconds = 0};
}

// Half a unit in the last of bfloat16's 8 bits, of results that are sums of rounded values.
double tolerance(at::ScalarType type) { return type == at::kFloat ? 1e-5 : 2e-2; }

class Ops : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(Ops, AreMeasuredForwardAndBackwardAndAgree) {
  const OpsReport report = measure_ops(quick(GetParam()));
  EXPECT_GE(report.cases.size(), 30U);
  for (const CaseResult& result : report.cases) {
    ASSERT_GE(result.sides.size(), 2U) << result.name;
    EXPECT_EQ(result.sides[0].name, "praxino");
    EXPECT_EQ(result.sides[1].name, "LibTorch");
    for (const SideResult& side : result.sides) {
      const std::string what = result.name + " " + result.shape + " " + side.name;
      EXPECT_EQ(side.failed, "") << what;
      // Attention that is causal by token is another function.
      if (side.name == "SDPA causal")
        EXPECT_TRUE(std::isnan(side.error)) << what;
      else
        EXPECT_LE(side.error, tolerance(GetParam())) << what;
      EXPECT_EQ(side.backward.repetitions > 0, result.backward.bytes > 0) << what;
      for (const Times& times : {side.forward, side.backward}) {
        if (times.repetitions == 0 && result.backward.bytes == 0) continue;
        EXPECT_GE(times.repetitions, 3) << what;
        EXPECT_GT(times.low, 0) << what;
        EXPECT_LE(times.low, times.median) << what;
        EXPECT_LE(times.median, times.high) << what;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Ops, ::testing::Values(at::kFloat, at::kBFloat16));

TEST(OpsCases, KnowWhatMadeTheirResult) {
  OpsOptions options = quick(at::kFloat);
  options.only = "swiglu";
  const OpsReport report = measure_ops(options);
  ASSERT_EQ(report.cases.size(), 1U);
  EXPECT_EQ(report.cases[0].sides[0].by, "loops");
  EXPECT_EQ(report.cases[0].sides[1].by, "");
}

TEST(OpsCases, HaveNamesAndWork) {
  std::set<std::string> names;
  for (const Case& c : all_cases(Scale::kGpu, at::kBFloat16)) {
    EXPECT_TRUE(names.insert(c.name + c.shape).second) << c.name << " " << c.shape;
    EXPECT_GT(c.forward.bytes, 0) << c.name;
    EXPECT_EQ(c.backward.bytes > 0, c.gradients > 0) << c.name;
  }
}

// Whatever runs on a GPU has a figure there.
TEST(OpsCases, MeasureEveryKernel) {
  std::set<std::pair<std::string, at::ScalarType>> measured;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const Case& c : all_cases(Scale::kGpu, type)) measured.emplace(c.op, type);
  }
  const std::vector<ops::KernelStatus> kernels = ops::kernel_table(std::nullopt);
  std::set<std::string> known;
  for (const ops::KernelStatus& kernel : kernels) {
    known.insert(std::string(kernel.op));
    EXPECT_TRUE(measured.contains({std::string(kernel.op), kernel.type}))
        << "no case of praxino bench ops measures " << kernel.name << " of "
        << c10::toString(kernel.type);
  }
  for (const auto& [op, type] : measured) EXPECT_TRUE(known.contains(op)) << op;
}

// Operands of the sizes of a GPU, without memory.
Inputs planned(const Case& c, at::ScalarType type) {
  return c.inputs(at::TensorOptions(type).device(at::kMeta));
}

// The sizes of a GPU run nowhere else in a test: what they are made of must fit together.
TEST(OpsCases, HaveSizesThatFitTogether) {
  for (const Case& c : all_cases(Scale::kGpu, at::kBFloat16)) {
    const std::string what = c.name + " " + c.shape;
    const Inputs in = planned(c, at::kBFloat16);
    for (const Side& side : c.sides) {
      if (!side.prepare) continue;
      EXPECT_NO_THROW(side.prepare(in)) << what << " " << side.name;
    }
    const Side& ours = c.sides.front();
    try {
      const at::Tensor result = (ours.bind ? ours.bind(in) : ours.run)(in);
      EXPECT_GT(result.numel(), 0) << what;
    } catch (const c10::NotImplementedError&) {  // LibTorch plans less than it computes
    }
  }
}

TEST(OpsCases, AlongTimeAreWhatTheKernelTakes) {
  int64_t cases = 0, in_float = 0;
  for (const Case& c : all_cases(Scale::kGpu, at::kBFloat16)) {
    if (c.op != "time_attention") continue;
    const Inputs in = planned(c, at::kBFloat16);
    ASSERT_TRUE(in.size() == 7 || in.size() == 3) << c.name << ": with the norm, or without";
    ++cases;
    const kernels::TimeShape shape{.batch = in[0].size(0),
                                   .places = in[0].size(2),
                                   .kv_heads = in[1].size(3),
                                   .group = in[0].size(3) / in[1].size(3),
                                   .frames = in[0].size(1),
                                   .width = in[0].size(4)};
    if (shape.frames > kernels::kMostFrames) {  // the kernels of attention over frames
      constexpr int64_t kMostLongFrames = 256;
      EXPECT_LE(shape.frames, kMostLongFrames) << c.name << " " << c.shape;
      EXPECT_TRUE(shape.width == 64 || shape.width == 128) << c.name << " " << c.shape;
      continue;
    }
    EXPECT_TRUE(kernels::in_range(shape)) << c.name << " " << c.shape;
    const size_t of_hopper = 227 << 10;
    const bool floats = in[0].scalar_type() == at::kFloat;
    in_float += floats ? 1 : 0;
    for (const auto& tiles : {floats ? kernels::kFloatForwardTiles : kernels::kForwardTiles,
                              floats ? kernels::kFloatBackwardTiles : kernels::kBackwardTiles})
      EXPECT_GT(time_plan(shape, tiles, {of_hopper, 132}).warps, 0) << c.name << " " << c.shape;
  }
  EXPECT_GE(cases, 4);
  EXPECT_GE(in_float, 1);
}

TEST(OpsCases, NeverHaveAMaskOfAllTokensByAllTokens) {
  for (const Case& c : all_cases(Scale::kGpu, at::kBFloat16)) {
    if (c.op != "frame_causal_attention") continue;
    const Inputs in = planned(c, at::kBFloat16);
    const int64_t queries = in[0].size(1) * in[0].size(2);
    if (queries <= 8192) continue;
    for (const Side& side : c.sides) EXPECT_NE(side.name, "LibTorch") << c.name << " " << c.shape;
  }
}

TEST(OpsCases, CountTheBytesAndProductsOfAttention) {
  std::map<std::string, Case> by_shape;
  for (const Case& c : all_cases(Scale::kGpu, at::kBFloat16)) by_shape[c.name + " " + c.shape] = c;
  const Case& time = by_shape.at("time_attention_normed_64 B4 T16 N1024 H16 G16 K64 BFloat16");
  const double elements = 4.0 * 16 * 1024 * 16 * 64;  // of q
  EXPECT_EQ(time.forward.bytes, 8 * elements) << "8 bytes an element";
  EXPECT_EQ(time.backward.bytes, 14 * elements) << "14 bytes an element";
  EXPECT_EQ(time.forward.flop, 4.0 * 4 * 1024 * (16 * 17 / 2) * 16 * 64);
  const Case& floats = by_shape.at("time_attention_normed_64 B2 T32 N1024 H16 G16 K64 Float");
  EXPECT_EQ(floats.forward.bytes, 16.0 * 2 * 32 * 1024 * 16 * 64);
  EXPECT_EQ(floats.backward.bytes, 28.0 * 2 * 32 * 1024 * 16 * 64);
  EXPECT_EQ(time.backward.flop, 2.5 * time.forward.flop);
  const Case& frames =
      by_shape.at("frame_causal_attention_128 B1 T128 N256 H16 G16 K128 W8 BFloat16");
  // Windows of 8 frames, and the first frame, which 120 frames see outside theirs.
  const double seen = 128 * 8 - 7 * 8 / 2 + 120;
  EXPECT_EQ(frames.forward.flop, 4.0 * seen * 256 * 256 * 16 * 128);
}

TEST(OpsOptions, ChooseCases) {
  OpsOptions options = quick(at::kFloat);
  options.only = "no_such_case";
  EXPECT_THAT(
      testing::error_text([&] { measure_ops(options); }),
      HasSubstr("no case has 'no_such_case' in its name; there are time_attention_normed_64"));
  options.only = "norm_modulate";
  options.ours_alone = true;
  const OpsReport report = measure_ops(options);
  EXPECT_EQ(report.cases.size(), 2U);
  EXPECT_EQ(report.cases[0].sides.size(), 1U);
  options.minutes = 1e-12;
  const OpsReport none = measure_ops(options);
  EXPECT_TRUE(none.cases.empty());
  EXPECT_EQ(none.left_out.size(), 2U);
}

TEST(OpsOptions, LimitTheTimeOfAMeasurement) {
  OpsOptions options = quick(at::kFloat);
  options.only = "swiglu";
  options.repetitions = 30;
  options.seconds = 0;
  const OpsReport report = measure_ops(options);
  EXPECT_EQ(report.cases[0].sides[0].forward.repetitions, 6) << "two in each of three rounds";
  options.seconds = 1000;
  EXPECT_EQ(measure_ops(options).cases[0].sides[0].forward.repetitions, 30);
}

// A device that runs at replay what it has recorded.
class Recorder final : public ops::StepRecorder {
 public:
  int64_t replays = 0;
  std::unique_ptr<ops::RecordedStep> record(const std::function<void()>& step) override {
    class Step final : public ops::RecordedStep {
     public:
      Step(std::function<void()> step, int64_t& replays)
          : step_(std::move(step)), replays_(replays) {}
      void replay() override {
        ++replays_;
        step_();
      }

     private:
      std::function<void()> step_;
      int64_t& replays_;
    };
    return std::make_unique<Step>(step, replays);
  }
};

TEST(OpsReplays, TimeOneCallAmongMany) {
  EXPECT_EQ(calls_of_replay(1), 32);
  EXPECT_EQ(calls_of_replay(2e8), 10);
  EXPECT_EQ(calls_of_replay(1e12), 4);

  const OpsOptions options = quick(at::kFloat);
  std::vector<Inputs> operands;
  const auto call = [&](const Inputs& in) {
    operands.push_back(in);
    return in[0] + 1;
  };
  int64_t calls = 0;
  const auto fails_when_recorded = [&](const Inputs& in) {
    TORCH_CHECK(++calls <= 32, "cannot be recorded");
    return in[0] + 1;
  };
  const Case c{.name = "case",
               .shape = "1",
               .op = "",
               .forward = {.bytes = 4},
               .inputs = [](const at::TensorOptions& o) -> Inputs { return {at::ones({1}, o)}; },
               .sides = {{.name = "praxino", .run = call},
                         {.name = "LibTorch", .run = fails_when_recorded},
                         {.name = "prepared", .run = call, .before = [](const Inputs&) {}}}};
  CaseResult result{.sides = {{.name = "praxino"}, {.name = "LibTorch"}, {.name = "prepared"}}};
  Stopwatch watch(options);
  Recorder recorder;
  measure_replays(c, result, watch, recorder, options);
  EXPECT_EQ(result.sides[0].replayed.repetitions, options.repetitions);
  EXPECT_GT(result.sides[0].replayed.median, 0);
  EXPECT_EQ(recorder.replays, options.repetitions + 2) << "a warm-up, and LibTorch's failure";
  EXPECT_EQ(result.sides[1].replayed.repetitions, 0);
  EXPECT_EQ(result.sides[1].failed, "") << "its other figures stand";
  EXPECT_EQ(result.sides[2].replayed.repetitions, 0);

  // One after the other, each call of a replay has operands of its own.
  std::set<const void*> places;
  for (size_t i = operands.size() - 32; i < operands.size(); ++i)
    places.insert(operands[i][0].const_data_ptr());
  EXPECT_EQ(places.size(), 32U);
}

TEST(OpsReplays, FollowWhereOurCallIsShort) {
  ops::use_recorder_maker([](const at::Device&) -> std::unique_ptr<ops::StepRecorder> {
    return std::make_unique<Recorder>();
  });
  OpsOptions options = quick(at::kFloat);
  options.only = "gate_add_128";
  options.replay_below_seconds = 1000;
  std::vector<std::string> begun;
  const auto progress = [&](const std::string& name) { begun.push_back(name); };
  for (const SideResult& side : measure_ops(options, progress).cases[0].sides)
    EXPECT_GE(side.replayed.repetitions, 3) << side.name;
  ASSERT_EQ(begun.size(), 2U);
  EXPECT_EQ(begun[1], begun[0] + ", replayed");
  options.replay_below_seconds = 0;
  EXPECT_EQ(measure_ops(options).cases[0].sides[0].replayed.repetitions, 0);
  ops::use_recorder_maker(nullptr);
}

TEST(OpsFigures, AreQuantiles) {
  std::vector<double> samples;
  for (int i = 10; i >= 0; --i) samples.push_back(i);
  const Times times = times_of(samples);
  EXPECT_EQ(times.low, 2);
  EXPECT_EQ(times.median, 5);
  EXPECT_EQ(times.high, 8);
  EXPECT_EQ(times.repetitions, 11);
  EXPECT_EQ(times_of({3}).median, 3);
}

TEST(OpsFigures, AreSharesOfTheNearerCeiling) {
  const Ceilings ceilings{.copy = 100, .product = 1000};
  const Times times{.median = 2};
  EXPECT_EQ(share_of_floor({.bytes = 100, .flop = 10}, times, ceilings), 0.5);
  EXPECT_EQ(share_of_floor({.bytes = 10, .flop = 1500}, times, ceilings), 0.75);
}

TEST(OpsFigures, ArePrintedAndWrittenAsJson) {
  OpsReport report{.device = "cuda:7", .ceilings = {.copy = 2e12, .product = 5e14}};
  const Times times{.median = 1e-3, .low = 0.9e-3, .high = 1.1e-3, .repetitions = 30};
  report.cases.push_back(
      {.name = "swiglu",
       .op = "swiglu",
       .shape = "B1",
       .forward = {.bytes = 1e9},
       .backward = {.bytes = 1, .flop = 1e11},
       .sides = {{.name = "praxino",
                  .by = "kernel (tma)",
                  .forward = times,
                  .backward = times,
                  .replayed = {.median = 8e-4, .low = 7e-4, .high = 9e-4, .repetitions = 30}},
                 {.name = "FA2", .failed = "not here"}}});
  report.left_out = {"gate_add"};
  const std::string table = ops_table(report);
  EXPECT_THAT(table, HasSubstr("1.000 (0.900-1.100)      1000 GB/s    50 %"));
  EXPECT_THAT(table, HasSubstr("100 TFLOP/s    20 %"));
  EXPECT_THAT(table, HasSubstr("replayed      0.800 (0.700-0.900)"));
  EXPECT_THAT(table, HasSubstr("praxino: kernel (tma)"));
  EXPECT_THAT(table, HasSubstr("not here"));
  EXPECT_THAT(table, HasSubstr("left out"));
  const auto json = nlohmann::json::parse(ops_json(report));
  EXPECT_EQ(json["copy_bytes_per_s"], 2e12);
  EXPECT_EQ(json["cases"][0]["sides"][0]["forward"]["median_s"], 1e-3);
  EXPECT_EQ(json["cases"][0]["sides"][0]["forward_replayed"]["median_s"], 8e-4);
  EXPECT_EQ(json["cases"][0]["sides"][0]["backward"]["share_of_floor"], 0.2);
  EXPECT_EQ(json["cases"][0]["sides"][1]["failed"], "not here");
  EXPECT_EQ(json["left_out"][0], "gate_add");
}

}  // namespace
}  // namespace praxino::bench
