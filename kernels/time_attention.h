#pragma once
// Attention along time with RMSNorm and rotary positions of queries and keys in the same pass, and
// its gradient (the operation: time_attention with QkNorm of include/praxino/ops/attention.h).
// bfloat16 on tensor cores, or float by multiplications and additions of floats; sums in float.
// Every operand crosses the bus once: 8 bytes of bfloat16 an element forward, 14 backward, where
// everything is computed again from q, k, v and the gradient; in float twice that
// (docs/kernels.md). Deterministic: no atomics, sums in an order that follows from the shape and
// the plan.
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

/// T: Bf16 or float, here and below.
template <class T>
struct TimeInputs {
  const T* q = nullptr;
  const T* k = nullptr;
  const T* v = nullptr;
  int64_t q_token = 0;
  int64_t k_token = 0;
  int64_t v_token = 0;
  TimeNorm queries;
  TimeNorm keys;
  TimeShape shape;
};

/// What both passes take: shape, plan and alignments.
template <class T>
bool in_range(const TimeInputs<T>& inputs, const TimePlan& plan, const TimeTiles& tiles);

template <class T>
struct TimeAttention {
  TimeInputs<T> in;
  T* o = nullptr;
  TimePlan plan;  // time_plan(in.shape, forward_tiles<T>(), ...)
};
/// kRefused where shape, plan or an alignment is out of range. An empty shape is no work.
Status launch_time_attention(const TimeAttention<Bf16>& params, Stream stream);
Status launch_time_attention(const TimeAttention<float>& params, Stream stream);

template <class T>
struct TimeAttentionBackward {
  TimeInputs<T> in;
  const T* grad = nullptr;  // of o, contiguous
  T* grad_q = nullptr;
  T* grad_k = nullptr;
  T* grad_v = nullptr;
  float* grad_query_gain = nullptr;  // K
  float* grad_key_gain = nullptr;
  float* workspace = nullptr;  // chunk_workspace(time_sums(in.shape, plan), 2) floats
  TimePlan plan;               // time_plan(in.shape, backward_tiles<T>(), ...)
};
/// Writes every gradient; those of the gains are zeros where there are no sequences.
Status launch_time_attention_backward(const TimeAttentionBackward<Bf16>& params, Stream stream);
Status launch_time_attention_backward(const TimeAttentionBackward<float>& params, Stream stream);

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
