// The kernels of attention over frames, executed on the CPU, against the formula in double.
#include "kernels/frame_attention_plan.h"

#include <gtest/gtest.h>

#include "kernels/frame_attention_runs.h"

namespace praxino::kernels {
namespace {

using namespace testing;

constexpr size_t kLarge = 227 * 1024, kSmall = 99 * 1024;  // shared memory of a block

struct Run {
  uint64_t seed = 1;
  int64_t gap = 0;         // elements between rows
  size_t shared = kLarge;  // what the device has
};

AttentionResults kernel(const AttentionInputs& in, const Run& run) {
  CudaOnCpu cuda({.seed = run.seed,
                  .multiprocessors = static_cast<int>(run.seed),
                  .shared_limit = run.shared,
                  .interruption = 0.001});
  return run_frame_attention(cuda, {launch_frame_attention, launch_frame_attention_backward}, in,
                             run.gap);
}

void expect_kernel_equals_formula(const AttentionInputs& in, const Run& run = {}) {
  expect_near_formula(kernel(in, run), in, 1e-6);
}

// One head after the other shares keys; all keys fit a block.
TEST(FrameAttentionKernel, EqualsItsFormulaInsideAFrame) {
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 4, 2, space(37))));
  expect_kernel_equals_formula(attention_inputs(shape_of(128, 2, 1, 1, space(70))));
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 2, 2, 2, space(1))));
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 1, 1, space(131))));
}

TEST(FrameAttentionKernel, EqualsItsFormulaOverFrames) {
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 2, 1, causal(13, 3, 0, 0))));
  expect_kernel_equals_formula(attention_inputs(shape_of(128, 1, 1, 1, causal(23, 5, 1, 2))));
}

// Tiles of queries, then tiles of keys.
TEST(FrameAttentionKernel, EqualsItsFormulaWhereKeysDoNotFitABlock) {
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 2, 1, causal(13, 11, 0, 0))),
                               {.shared = kSmall});
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 2, 1, 1, causal(29, 6, 2, 1))),
                               {.shared = kSmall});
  expect_kernel_equals_formula(attention_inputs(shape_of(128, 1, 2, 1, causal(23, 7, 1, 2))));
  expect_kernel_equals_formula(attention_inputs(shape_of(128, 1, 1, 1, space(131))));
  // Frames as long as tiles: nothing is hidden element by element.
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 1, 1, causal(64, 3, 2, 0))),
                               {.shared = kSmall});
}

TEST(FrameAttentionKernel, EqualsItsFormulaForLateQueriesAndForACache) {
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 4, 2, causal(17, 9, 3, 1, 100))),
                               {.shared = kSmall});
  const FrameMask cache{.tokens = 150, .queries = 5, .keys = 150};
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 4, 1, cache)));
  expect_kernel_equals_formula(attention_inputs(shape_of(128, 1, 2, 1, cache)));
}

TEST(FrameAttentionKernel, NormalisesAndRotatesInTheLoad) {
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 2, 1, space(75)), true));
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 1, 1, space(140)), true));
  expect_kernel_equals_formula(attention_inputs(shape_of(128, 2, 1, 1, space(37)), true));
}

// A token a frame, places side by side: one pass backward of both sizes, and two.
TEST(FrameAttentionKernel, EqualsItsFormulaAlongTime) {
  const auto frames = [](int count, int window = 0, int sinks = 0) {
    return causal(1, count, window, sinks);
  };
  expect_kernel_equals_formula(attention_inputs(along_time(64, 2, 2, 2, 1, frames(67)), true));
  expect_kernel_equals_formula(
      attention_inputs(along_time(64, 1, 3, 1, 1, frames(131, 50, 3)), true), {.gap = 8});
  expect_kernel_equals_formula(attention_inputs(along_time(128, 1, 2, 2, 2, frames(79)), true));
  expect_kernel_equals_formula(attention_inputs(along_time(128, 2, 1, 2, 1, frames(131, 40, 7))));
  expect_kernel_equals_formula(attention_inputs(along_time(64, 1, 2, 1, 1, frames(149))),
                               {.gap = 8, .shared = kSmall});
}

TEST(FrameAttentionKernel, TakesRowsThatLieApart) {
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 2, 2, 1, causal(7, 5, 2, 1))),
                               {.gap = 16});
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 1, 1, causal(15, 9, 2, 1))),
                               {.gap = 8, .shared = kSmall});
}

TEST(FrameAttentionKernel, GivesZerosToQueriesThatSeeNoKeyAndToKeysThatNobodySees) {
  const FrameMask past{.tokens = 4, .window = 1, .queries = 16, .keys = 8};
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 1, 1, past)));
  const FrameMask none{.tokens = 4, .queries = 9, .keys = 0};
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 1, 1, none)));
  const FrameMask unasked{.tokens = 4, .queries = 0, .keys = 9};
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 1, 1, unasked)));
  const FrameMask late{.tokens = 4, .window = 2, .offset = 180, .queries = 9, .keys = 189};
  expect_kernel_equals_formula(attention_inputs(shape_of(64, 1, 1, 1, late)), {.shared = kSmall});
}

// Where all scores are far below 0, a key past the last would get an infinite weight.
TEST(FrameAttentionKernel, HoldsAtTheEndsOfTheRange) {
  for (const double sign : {-1.0, 1.0}) {
    AttentionInputs in = attention_inputs(shape_of(64, 1, 1, 1, space(37)));
    for (double& x : in.q) x = as<Bf16>(10 + x / 8);
    for (double& x : in.k) x = as<Bf16>(sign * 10 + x / 8);
    expect_kernel_equals_formula(in);
  }
}

TEST(FrameAttentionKernel, GivesEqualBitsUnderEverySchedule) {
  const AttentionInputs fused = attention_inputs(shape_of(64, 3, 2, 1, space(41)), true);
  const AttentionInputs two_passes = attention_inputs(shape_of(64, 1, 2, 1, causal(31, 5, 3, 1)));
  const AttentionResults first = kernel(fused, {}), second = kernel(two_passes, {.shared = kSmall});
  for (uint64_t seed = 2; seed < 4; ++seed) {
    EXPECT_EQ(kernel(fused, {.seed = seed}), first);
    EXPECT_EQ(kernel(two_passes, {.seed = seed, .shared = kSmall}), second);
  }
}

TEST(FrameAttentionKernel, AFrameChangesNothingBeforeIt) {
  AttentionInputs in = attention_inputs(shape_of(64, 1, 1, 1, causal(20, 4, 0, 0)));
  const AttentionResults before = kernel(in, {});
  for (size_t i = 60 * 64; i < 80 * 64; ++i) in.k[i] = in.v[i] = 3;
  const AttentionResults after = kernel(in, {});
  for (size_t i = 0; i < 60 * 64; ++i) ASSERT_EQ(before.out[i], after.out[i]);
  EXPECT_NE(before.out, after.out);
}

// On every chip from 8.0 something serves.
static_assert(QueryTiles<64>::kSharedBytes <= kSmall && QueryTiles<128>::kSharedBytes <= kSmall &&
              KeyTiles64::kSharedBytes <= kSmall && KeyTiles128::kSharedBytes <= kSmall &&
              ForwardTiles<64, true>::kSharedBytes <= kSmall &&
              ForwardTiles<128, true>::kSharedBytes <= kSmall &&
              ForwardTiles<128, false>::kSharedBytes <= kSmall);

TEST(FrameAttentionBackward, TakesOnePassWhereItFits) {
  const auto plan = [](int width, int keys, size_t shared) {
    return backward_plan(shape_of(width, 1, 1, 1, space(keys)), shared);
  };
  constexpr auto kTwo = BackwardPlan::kTwoPasses;
  for (const size_t shared : {kSmall, 163 * size_t{1024}, kLarge}) {
    EXPECT_EQ(plan(64, 1, shared), BackwardPlan::kOnePassOf128);
    EXPECT_EQ(plan(64, 128, shared), BackwardPlan::kOnePassOf128);
    EXPECT_EQ(plan(64, 129, shared), shared == kSmall ? kTwo : BackwardPlan::kOnePassOf256);
    EXPECT_EQ(plan(64, 256, shared), shared == kSmall ? kTwo : BackwardPlan::kOnePassOf256);
    EXPECT_EQ(plan(128, 128, shared), shared == kSmall ? kTwo : BackwardPlan::kOnePassOf128);
    for (const int width : {64, 128}) {
      EXPECT_EQ(plan(width, 257, shared), kTwo);
      EXPECT_EQ(plan(width, 0, shared), kTwo);
    }
    EXPECT_EQ(plan(128, 129, shared), kTwo);
  }
}

TEST(FrameAttentionKernel, DoesNotLaunchForAnEmptyBatchAndRefusesWhatItDoesNotTake) {
  CudaOnCpu cuda;
  const auto status_of = [](const AttentionShape& shape, HeadsIn q = {}, QkNormRotate norm = {}) {
    return launch_frame_attention({q, {}, {}, {}, nullptr, norm, shape}, nullptr);
  };
  EXPECT_TRUE(status_of(shape_of(64, 0, 2, 2, space(5))).ok());
  EXPECT_TRUE(status_of(shape_of(64, 2, 2, 2, {.tokens = 5, .keys = 5})).ok());
  for (const AttentionShape& shape :
       {shape_of(96, 1, 2, 2, space(5)), shape_of(64, 1, 3, 2, space(5)),
        shape_of(64, 1, 2, 0, space(5)), shape_of(64, -1, 2, 2, space(5)),
        shape_of(64, int64_t{1} << 31, 2, 2, space(5)), shape_of(64, 1, 2, 2, {.tokens = 0}),
        shape_of(64, 1 << 30, 1, 1, space(1000))})
    EXPECT_EQ(status_of(shape).code, kRefused.code);
  AttentionShape places = along_time(64, 0, 3, 2, 1, causal(1, 70, 0, 0));
  EXPECT_TRUE(status_of(places).ok());
  for (const int wrong : {0, 2}) {
    places.places = wrong;
    EXPECT_EQ(status_of(places).code, kRefused.code);
  }
  AttentionShape empty = shape_of(64, 0, 2, 2, space(5));
  empty.scale = 0;
  EXPECT_EQ(status_of(empty).code, kRefused.code);
  empty.scale = 1;
  const float* table = reinterpret_cast<const float*>(uintptr_t{16});
  const auto* q = reinterpret_cast<const Bf16*>(uintptr_t{18});
  EXPECT_EQ(status_of(empty, {q, {}}).code, kRefused.code);
  EXPECT_EQ(status_of(empty, {nullptr, {.token = 4}}).code, kRefused.code);
  EXPECT_EQ(status_of(empty, {}, {.query_gain = table}).code, kRefused.code);
  EXPECT_EQ(status_of(empty, {}, {.key_sin = table}).code, kRefused.code);
  EXPECT_EQ(cuda.launches(), 0);
}

}  // namespace
}  // namespace praxino::kernels
