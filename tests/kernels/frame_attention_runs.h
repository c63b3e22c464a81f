#pragma once
// What the tests of the portable and of the Hopper kernels of attention over frames share: masks, a
// run of forward and backward on the CPU, and how near its results must be to the formula.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/attention_formula.h"
#include "kernels/frame_attention_plan.h"
#include "kernels/head_operand.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels::testing {

using praxino::testing::CudaOnCpu;

struct FrameAttentionKernels {
  Status (*forward)(const FrameAttention&, Stream);
  Status (*backward)(const FrameAttentionBackward&, Stream);
};

/// `gap`: elements between rows of queries; twice as many lie between rows of keys.
inline AttentionResults run_frame_attention(CudaOnCpu& cuda, const FrameAttentionKernels& kernels,
                                            const AttentionInputs& in, int64_t gap) {
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
  EXPECT_TRUE(kernels.forward(p, nullptr).ok());
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
  EXPECT_TRUE(kernels.backward(back, nullptr).ok());
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

/// Twice as far as the formula over bfloat16 tensors, or as the exact values rounded.
inline void expect_near(const Doubles& got, const Doubles& want, const Doubles& rounded,
                        const char* what) {
  EXPECT_LE(distance(got, want), std::max(2 * distance(rounded, want), bound<Bf16>(want))) << what;
}

/// `lse_relative`: how far a log-sum may be off relative to its size, besides 1e-5.
inline void expect_near_formula(const AttentionResults& got, const AttentionInputs& in,
                                double lse_relative) {
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
      ASSERT_NEAR(got.lse[i], want.lse[i],
                  in.norm ? 2e-2 : 1e-5 + lse_relative * std::fabs(want.lse[i]));
    }
  }
}

inline AttentionShape shape_of(int width, int64_t batch, int64_t heads, int64_t key_heads,
                               const FrameMask& mask) {
  return {.batch = batch,
          .heads = heads,
          .key_heads = key_heads,
          .width = width,
          .scale = 1,
          .mask = mask};
}

inline FrameMask space(int tokens) { return {.tokens = tokens, .queries = tokens, .keys = tokens}; }

/// Along time: as many heads at each of `places`, side by side.
inline AttentionShape along_time(int width, int64_t batch, int places, int64_t heads,
                                 int64_t key_heads, const FrameMask& mask) {
  AttentionShape shape = shape_of(width, batch, places * heads, places * key_heads, mask);
  shape.places = places;
  return shape;
}

/// Frames, window, sinks, what lies before the first query.
inline FrameMask causal(int tokens, int frames, int window, int sinks, int before = 0) {
  const int keys = tokens * frames;
  return {tokens, window, sinks, before, keys - before, keys};
}

}  // namespace praxino::kernels::testing
