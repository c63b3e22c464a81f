#pragma once
// Multi-head attention with QK-norm, rotary positions and grouped key/value heads, along one of
// three ways.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "praxino/layers/cache.h"
#include "praxino/layers/linear.h"
#include "praxino/layers/ranks.h"
#include "praxino/ops/attention.h"
#include "praxino/ops/rope.h"

namespace praxino {

enum class AttentionKind { kSpace, kTime, kFrameCausal };

struct AttentionShape {
  AttentionKind kind = AttentionKind::kSpace;
  int64_t width = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  ops::FrameWindow window = {};
  int64_t head_width() const { return width / heads; }
};

/// The positions of queries and keys: one row a token, S K/2 (S = N inside a frame, T N else).
struct AttentionPositions {
  ops::RopeTable queries;
  ops::RopeTable keys;
};

/// One new frame over a cache: slot number `slot` (1 int64, on the cache's device) receives it,
/// `used` slots are seen. keys: positions of used * N tokens. What changes from frame to frame is
/// in tensors, so that a step can be recorded (praxino/ops/step_graph.h).
struct CachedFrame {
  at::Tensor slot;
  int64_t used = 0;
};

/// Thread-safe for inference. Where several tensor ranks share it each has some of the heads, whole
/// groups of those that share a key/value head, and some of the tokens: x and the result are of
/// this rank's tokens, of which `shares` says how many each rank has.
class Attention {
 public:
  /// REQUIRES: as many key/value heads as tensor ranks, and as many heads of a
  /// rank as context ranks (c10::Error).
  Attention(const ParameterScope& scope, const AttentionShape& shape, const ModelRanks& ranks = {});
  /// x: B T N D (normalized and modulated) -> B T N D in x's dtype. Positions are those of all
  /// tokens and frames. Where context ranks have frames of their own kFrameCausal exchanges heads
  /// for frames.
  at::Tensor forward(const at::Tensor& x, const AttentionPositions& positions,
                     const TokenShares& shares = {}) const;
  /// x: B 1 N D. Time and frame-causal kinds write into `cache`; kSpace ignores it.
  at::Tensor step(const at::Tensor& x, const AttentionPositions& positions,
                  const CachedFrame& frame, LayerCache& cache,
                  const TokenShares& shares = {}) const;
  const AttentionShape& shape() const { return shape_; }  // of the model, over all ranks
  int64_t own_kv_heads() const { return kv_heads_; }

 private:
  struct Heads {
    at::Tensor q, k, v;  // B T N H K, B T N G K
  };
  Heads project(const at::Tensor& x, const TokenShares& shares) const;
  ops::QkNorm norm(const AttentionPositions& positions) const;
  at::Tensor merge(const at::Tensor& attended, const at::Tensor& like,
                   const TokenShares& shares) const;
  at::Tensor over_frames(Heads heads, const AttentionPositions& positions,
                         const std::vector<int64_t>& frames) const;

  AttentionShape shape_;
  ModelRanks ranks_;
  int64_t heads_, kv_heads_;  // of this rank
  Linear query_, key_, value_, output_;
  at::Tensor query_gain_, key_gain_;
};

}  // namespace praxino
