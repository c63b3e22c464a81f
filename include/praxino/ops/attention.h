#pragma once
// The three attentions of a video transformer: on a GPU by kernels where one serves
// (docs/kernels.md), else as formulas over ATen. q: B T N H K; k, v: B T N G K with G key/value
// heads, each shared by H/G query heads; result B T N H K in q's dtype. Scale 1/sqrt(K). Pure,
// thread-safe, differentiable.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "praxino/ops/rope.h"

namespace praxino::ops {

/// What a frame sees of the frames before it: those less than `window` frames back, and the first
/// `sinks` frames.
struct FrameWindow {
  int64_t window = 0;  // 0: all
  int64_t sinks = 0;
  /// Query frame i sees key frame j.
  constexpr bool sees(int64_t i, int64_t j) const {
    return j <= i && (window == 0 || i - j < window || j < sinks);
  }
};

/// Every token sees all tokens of its own frame.
at::Tensor space_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

/// Every token sees the tokens at its own place in its own and earlier frames.
at::Tensor time_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const FrameWindow& window);

/// Every token sees all tokens of its own and earlier frames. c10::Error where k and v have
/// another batch, other frames or other tokens than q, or v another head width.
at::Tensor frame_causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const FrameWindow& window);

/// Rollout: the tokens of one new frame, q: B 1 N H K, over all frames of k, v: B F N G K (the
/// cache, in any order, with the new frame among them): along time only, or all tokens.
at::Tensor time_attention_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);
at::Tensor frame_causal_attention_step(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v);

/// The same as ATen expressions, on any device and of any type: the specification of the kernels,
/// and what runs where none serves.
namespace formula {
at::Tensor space_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);
at::Tensor time_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const FrameWindow& window);
at::Tensor frame_causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const FrameWindow& window);
at::Tensor time_attention_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);
at::Tensor frame_causal_attention_step(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v);
}  // namespace formula

/// What happens to queries and keys on their way into attention: RMSNorm over the head width with a
/// gain, then rotary positions (norm_rotate of ops/norm.h; Dehghani et al., arXiv 2302.05442). One
/// table row a token: S K/2 with S = N for space_attention, T N else.
struct QkNorm {
  at::Tensor query_gain;  // K float32
  at::Tensor key_gain;    // K float32
  RopeTable queries;
  RopeTable keys;
};

/// The same attentions of norm_rotate(q) and norm_rotate(k): one operation, because a kernel that
/// normalizes and rotates as it loads saves a pass over memory forward and one backward.
at::Tensor space_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const QkNorm& norm);
at::Tensor time_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const QkNorm& norm, const FrameWindow& window);
at::Tensor frame_causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const QkNorm& norm, const FrameWindow& window);

/// Rollout: q: B 1 N H K is normalized and rotated; k: B F N G K, the cache of normalized keys (the
/// gain is in them), is rotated alone: a frame's place in the order of time changes as the window
/// moves on. `queries` has N rows, `keys` F N; `key_gain` is not looked at. Computed in k's dtype,
/// which the result has.
at::Tensor time_attention_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const QkNorm& norm);
at::Tensor frame_causal_attention_step(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v, const QkNorm& norm);

}  // namespace praxino::ops
