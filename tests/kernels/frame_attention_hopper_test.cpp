// The Hopper kernels of attention over frames, executed on the CPU, against the formula in double.
#include "kernels/frame_attention_hopper.h"

#include <gtest/gtest.h>

#include "kernels/frame_attention_runs.h"

namespace praxino::kernels {
namespace {

using namespace testing;

AttentionResults kernel(const AttentionInputs& in, uint64_t seed, int64_t gap = 0) {
  CudaOnCpu cuda({.seed = seed, .blocks_at_once = 2, .multiprocessors = 2, .interruption = 0.001});
  return run_frame_attention(
      cuda, {launch_frame_attention_hopper, launch_frame_attention_backward_hopper}, in, gap);
}

void expect_kernel_equals_formula(const AttentionShape& shape, int64_t gap = 0) {
  const AttentionInputs in = attention_inputs(shape);
  expect_near_formula(kernel(in, 1, gap), in, 0);
}

TEST(FrameAttentionHopper, EqualsItsFormulaInsideAFrame) {
  expect_kernel_equals_formula(shape_of(64, 2, 2, 1, space(37)));
  expect_kernel_equals_formula(shape_of(128, 1, 1, 1, space(131)));
  expect_kernel_equals_formula(shape_of(64, 1, 1, 1, space(1)));
  expect_kernel_equals_formula(shape_of(64, 1, 1, 1, space(128)));
}

// More tiles a block than it has sets of rows for: memory comes to be used again.
TEST(FrameAttentionHopper, EqualsItsFormulaForManySmallProblems) {
  expect_kernel_equals_formula(shape_of(64, 4, 2, 1, space(20)));
  expect_kernel_equals_formula(shape_of(128, 7, 1, 1, space(20)));
}

TEST(FrameAttentionHopper, EqualsItsFormulaOverFrames) {
  expect_kernel_equals_formula(shape_of(64, 1, 2, 2, causal(41, 9, 0, 0)));
  expect_kernel_equals_formula(shape_of(64, 1, 1, 1, causal(29, 11, 3, 2)));
  expect_kernel_equals_formula(shape_of(128, 2, 2, 1, causal(29, 6, 2, 0)));
  expect_kernel_equals_formula(shape_of(128, 1, 1, 1, causal(23, 13, 1, 2)));
  // Frames as long as tiles: nothing is hidden element by element.
  expect_kernel_equals_formula(shape_of(64, 1, 1, 1, causal(128, 4, 2, 0)));
}

TEST(FrameAttentionHopper, EqualsItsFormulaForLateQueriesAndForACache) {
  expect_kernel_equals_formula(shape_of(64, 2, 2, 1, causal(17, 19, 3, 1, 100)));
  // Keys that no query sees, between others.
  expect_kernel_equals_formula(shape_of(64, 2, 1, 1, causal(8, 60, 1, 0, 256)));
  const FrameMask cache{.tokens = 300, .queries = 5, .keys = 300};
  expect_kernel_equals_formula(shape_of(128, 1, 2, 1, cache));
}

TEST(FrameAttentionHopper, TakesRowsThatLieApart) {
  expect_kernel_equals_formula(shape_of(64, 2, 2, 1, causal(7, 5, 2, 1)), 16);
}

TEST(FrameAttentionHopper, GivesZerosToQueriesThatSeeNoKey) {
  const FrameMask past{.tokens = 4, .window = 1, .queries = 16, .keys = 8};
  expect_kernel_equals_formula(shape_of(64, 1, 1, 1, past));
}

// Weights are relative to a score that may lie up to 2^8 below the best, and no lower.
TEST(FrameAttentionHopper, HoldsWhereScoresGrowFromTileToTile) {
  AttentionInputs in = attention_inputs(shape_of(64, 1, 1, 1, causal(100, 5, 0, 0)));
  for (size_t i = 0; i < in.k.size(); ++i)
    in.k[i] = as<Bf16>(in.k[i] * static_cast<double>(1 + i / 64 / 100));
  const AttentionResults got = kernel(in, 1), want = AttentionFormula(in, false).results();
  expect_near(got.out, want.out, AttentionFormula(in, true).results().out, "out");
}

TEST(FrameAttentionHopper, GivesEqualBitsUnderEverySchedule) {
  const AttentionInputs in = attention_inputs(shape_of(64, 1, 2, 1, causal(61, 6, 3, 1)));
  const AttentionResults first = kernel(in, 1);
  for (uint64_t seed = 2; seed < 5; ++seed) EXPECT_EQ(kernel(in, seed), first);
}

TEST(FrameAttentionHopper, AFrameChangesNothingBeforeIt) {
  AttentionInputs in = attention_inputs(shape_of(64, 1, 1, 1, causal(50, 4, 0, 0)));
  const AttentionResults before = kernel(in, 1);
  for (size_t i = 150 * 64; i < 200 * 64; ++i) in.k[i] = in.v[i] = 3;
  const AttentionResults after = kernel(in, 1);
  for (size_t i = 0; i < 150 * 64; ++i) ASSERT_EQ(before.out[i], after.out[i]);
  EXPECT_NE(before.out, after.out);
}

TEST(FrameAttentionHopper, DoesNotLaunchForAnEmptyBatchAndRefusesWhatItDoesNotTake) {
  CudaOnCpu cuda;
  const auto status_of = [](const AttentionShape& shape, HeadsIn q = {}, QkNormRotate norm = {}) {
    return launch_frame_attention_hopper({q, {}, {}, {}, nullptr, norm, shape}, nullptr);
  };
  EXPECT_TRUE(status_of(shape_of(64, 0, 2, 2, space(5))).ok());
  EXPECT_TRUE(status_of(shape_of(64, 2, 2, 2, {.tokens = 5, .keys = 5})).ok());
  for (const AttentionShape& shape :
       {shape_of(96, 1, 2, 2, space(5)), shape_of(64, 1, 3, 2, space(5)),
        shape_of(64, -1, 2, 2, space(5)), shape_of(64, 1, 2, 2, {.tokens = 0}),
        shape_of(64, 1, 2, 2, {.tokens = 5, .queries = 5}), shape_of(64, 2, 2, 2, space(5))})
    EXPECT_EQ(status_of(shape).code, kRefused.code);  // the last: strides of 0
  const AttentionShape empty = shape_of(64, 0, 2, 2, space(5));
  const float* table = reinterpret_cast<const float*>(uintptr_t{16});
  EXPECT_EQ(status_of(empty, {reinterpret_cast<const Bf16*>(uintptr_t{18}), {}}).code,
            kRefused.code);
  EXPECT_EQ(status_of(empty, {nullptr, {.token = 4}}).code, kRefused.code);
  EXPECT_EQ(status_of(empty, {}, {.query_gain = table}).code, kRefused.code);
  FrameAttentionBackward back;
  back.shape = empty;
  EXPECT_TRUE(launch_frame_attention_backward_hopper(back, nullptr).ok());
  back.grad.strides.token = 4;
  EXPECT_EQ(launch_frame_attention_backward_hopper(back, nullptr).code, kRefused.code);
  back.grad = {};
  back.norm.query_gain = table;
  EXPECT_EQ(launch_frame_attention_backward_hopper(back, nullptr).code, kRefused.code);
  EXPECT_EQ(cuda.launches(), 0);
}

}  // namespace
}  // namespace praxino::kernels
