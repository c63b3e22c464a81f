#pragma once
// Attention along time with RMSNorm and rotary positions of queries and keys in the same pass, and
// its gradient (the operation: time_attention with QkNorm of include/praxino/ops/attention.h).
// bfloat16, sums in float. Every operand crosses the bus once: 8 bytes an element forward, 14
// backward, where everything is computed again from q, k, v and the gradient (docs/kernels.md).
// Deterministic: no atomics, sums in an order that follows from the shape and the plan.
//
// Layouts as in memory: q, o: B T N H K; k, v: B T N G K. The heads of a token are contiguous;
// tokens of the inputs may lie further apart (`..._token` elements, a multiple of 8), so that q, k
// and v can be parts of one projection. Outputs are contiguous. Pointers to inputs and outputs are
// aligned to 16 bytes and may not overlap. Launchers only queue work; they are thread-safe.

#include "kernels/bf16.h"
#include "kernels/launch.h"
#include "kernels/time_tiles.h"

namespace praxino::kernels {

/// Gain of the norm, and a row of angles a token: T N x K / 2. Without gains, of both or of none,
/// rows are taken as they are: no norm, no rotation, and no gradients of gains.
struct TimeNorm {
  const float* gain = nullptr;  // K
  const float* cos = nullptr;
  const float* sin = nullptr;
};

struct TimeInputs {
  const Bf16* q = nullptr;
  const Bf16* k = nullptr;
  const Bf16* v = nullptr;
  int64_t q_token = 0;
  int64_t k_token = 0;
  int64_t v_token = 0;
  TimeNorm queries;
  TimeNorm keys;
  TimeShape shape;
};

/// What both passes take: shape, plan and alignments.
bool in_range(const TimeInputs& inputs, const TimePlan& plan, const TimeTiles& tiles);

struct TimeAttention {
  TimeInputs in;
  Bf16* o = nullptr;
  TimePlan plan;  // time_plan(in.shape, kForwardTiles, ...)
};
/// kRefused where shape, plan or an alignment is out of range. An empty shape is no work.
Status launch_time_attention(const TimeAttention& params, Stream stream);

struct TimeAttentionBackward {
  TimeInputs in;
  const Bf16* grad = nullptr;  // of o, contiguous
  Bf16* grad_q = nullptr;
  Bf16* grad_k = nullptr;
  Bf16* grad_v = nullptr;
  float* grad_query_gain = nullptr;  // K
  float* grad_key_gain = nullptr;
  float* workspace = nullptr;  // chunk_workspace(time_sums(in.shape, plan), 2) floats
  TimePlan plan;               // time_plan(in.shape, kBackwardTiles, ...)
};
/// Writes every gradient; those of the gains are zeros where there are no sequences.
Status launch_time_attention_backward(const TimeAttentionBackward& params, Stream stream);

/// Rollout: one new frame over a cache of normalized keys that are not rotated, in any order. One
/// pass over the cache; arithmetic in float. No gradient.
struct TimeAttentionStep {
  const void* q = nullptr;  // B N H K
  const void* k = nullptr;  // B F N G K
  const void* v = nullptr;  // as k
  void* o = nullptr;        // B N H K
  int64_t cache_batch = 0;  // elements between batch rows of k and of v: a multiple of 8
  TimeNorm queries;         // tables: N x K / 2
  TimeNorm keys;            // no gain; tables: F N x K / 2
  int64_t batch = 0;
  int64_t places = 0;
  int64_t kv_heads = 0;
  int64_t group = 0;
  int64_t frames = 0;  // of the cache, at least 1
  int64_t width = 0;   // 64 or 128
  Element query_element = Element::kBf16;
  Element element = Element::kFloat;  // of k, v and o
};
bool in_range(const TimeAttentionStep& params);
Status launch_time_attention_step(const TimeAttentionStep& params, Stream stream);

/// The current device, as time_plan() asks for it.
TimeDevice time_device();

}  // namespace praxino::kernels
