// The kernels of attention over frames, executed on the CPU, against the formula in double.
#include "kernels/frame_attention_plan.h"

#include <gtest/gtest.h>

#include "kernels/attention_formula.h"
#include "kernels/head_operand.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using namespace testing;

constexpr size_t kLarge = 227 * 1024, kSmall = 99 * 1024;  // shared memory of a block

struct Run {
  uint64_t seed = 1;
  int64_t gap = 0;         // elements between rows
  size_t shared = kLarge;  // what the device has
};

AttentionResults kernel(const AttentionInputs& in, const Run& run) {
  const int64_t gap = run.gap;
  CudaOnCpu cuda({.seed = run.seed,
                  .multiprocessors = static_cast<int>(run.seed),
                  .shared_limit = run.shared,
                  .interruption = 0.001});
  const AttentionShape& s = in.shape;
  const Operand queries(s.mask.queries, s.heads, s.width, s.batch, gap);
  const Operand keys(s.mask.keys, s.key_heads, s.width, s.batch, 2 * gap);
  const auto in_of = [&](const Operand& layout, const Doubles& x, const char* name) {
    return HeadsIn{cuda.upload(layout.spread(x), name), layout.strides()};
  };
  const auto out_of = [&](const Operand& layout, const char* name) {
    return HeadsOut{cuda.allocate<Bf16>(layout.size(), name), layout.strides()};
  };
  FrameAttention p{.q = in_of(queries, in.q, "q"),
                   .k = in_of(keys, in.k, "k"),
                   .v = in_of(keys, in.v, "v"),
                   .out = out_of(queries, "out"),
                   .norm = {},
                   .shape = s};
  const auto rows = static_cast<size_t>(s.batch * s.heads * s.mask.queries);
  p.lse = cuda.allocate<float>(rows, "lse");
  if (in.norm) {
    p.norm = {cuda.upload(in.query_gain, "query gain"), cuda.upload(in.key_gain, "key gain"),
              cuda.upload(in.query_cos, "query cos"),   cuda.upload(in.query_sin, "query sin"),
              cuda.upload(in.key_cos, "key cos"),       cuda.upload(in.key_sin, "key sin")};
  }
  EXPECT_TRUE(launch_frame_attention(p, nullptr).ok());
  FrameAttentionBackward back{.q = p.q,
                              .k = p.k,
                              .v = p.v,
                              .out = {p.out.data, p.out.strides},
                              .grad = in_of(queries, in.grad, "grad"),
                              .lse = p.lse,
                              .grad_q = out_of(queries, "grad_q"),
                              .grad_k = out_of(keys, "grad_k"),
                              .grad_v = out_of(keys, "grad_v"),
                              .delta = cuda.allocate<float>(rows, "delta"),
                              .norm = p.norm,
                              .shape = s};
  const auto width = static_cast<size_t>(s.width), gains = in.norm ? width : 0;
  back.grad_query_gain = cuda.allocate<float>(gains, "grad_query_gain");
  back.grad_key_gain = cuda.allocate<float>(gains, "grad_key_gain");
  back.gain_workspace =
      cuda.allocate<float>(in.norm ? static_cast<size_t>(gain_workspace(s)) : 0, "gain workspace");
  EXPECT_TRUE(launch_frame_attention_backward(back, nullptr).ok());
  AttentionResults got;
  got.grad_q = queries.gather(cuda.download(back.grad_q.data, queries.size()));
  got.grad_k = keys.gather(cuda.download(back.grad_k.data, keys.size()));
  got.grad_v = keys.gather(cuda.download(back.grad_v.data, keys.size()));
  got.grad_query_gain = exact(cuda.download(back.grad_query_gain, gains));
  got.grad_key_gain = exact(cuda.download(back.grad_key_gain, gains));
  got.out = queries.gather(cuda.download(p.out.data, queries.size()));
  got.lse = exact(cuda.download(p.lse, rows));
  return got;
}

// Twice as far as the formula over bfloat16 tensors, or as the exact values rounded.
void expect_near(const Doubles& got, const Doubles& want, const Doubles& rounded,
                 const char* what) {
  EXPECT_LE(distance(got, want), std::max(2 * distance(rounded, want), bound<Bf16>(want))) << what;
}

void expect_kernel_equals_formula(const AttentionInputs& in, const Run& run = {}) {
  const AttentionResults got = kernel(in, run);
  const AttentionResults want = AttentionFormula(in, false).results();
  const AttentionResults rounded = AttentionFormula(in, true).results();
  expect_near(got.out, want.out, rounded.out, "out");
  expect_near(got.grad_q, want.grad_q, rounded.grad_q, "grad_q");
  expect_near(got.grad_k, want.grad_k, rounded.grad_k, "grad_k");
  expect_near(got.grad_v, want.grad_v, rounded.grad_v, "grad_v");
  expect_near(got.grad_query_gain, want.grad_query_gain, rounded.grad_query_gain, "query gain");
  expect_near(got.grad_key_gain, want.grad_key_gain, rounded.grad_key_gain, "key gain");
  for (size_t i = 0; i < want.lse.size(); ++i) {
    if (std::isinf(want.lse[i])) {
      ASSERT_EQ(got.lse[i], want.lse[i]);
    } else {
      ASSERT_NEAR(got.lse[i], want.lse[i], in.norm ? 2e-2 : 1e-5 + 1e-6 * std::fabs(want.lse[i]));
    }
  }
}

AttentionShape shape_of(int width, int64_t batch, int64_t heads, int64_t key_heads,
                        const FrameMask& mask) {
  return {.batch = batch,
          .heads = heads,
          .key_heads = key_heads,
          .width = width,
          .scale = 1,
          .mask = mask};
}
FrameMask space(int tokens) { return {.tokens = tokens, .queries = tokens, .keys = tokens}; }

// Frames, window, sinks, what lies before the first query.
FrameMask causal(int tokens, int frames, int window, int sinks, int before = 0) {
  const int keys = tokens * frames;
  return {tokens, window, sinks, before, keys - before, keys};
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
