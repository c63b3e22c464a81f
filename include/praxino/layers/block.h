#pragma once
// One block of the transformer: attention and feed-forward, each behind a norm that the frame's
// condition modulates.

#include <ATen/core/Tensor.h>

#include "praxino/layers/attention.h"
#include "praxino/layers/linear.h"

namespace praxino {

/// SwiGLU: down(silu(a) * b), [a | b] = up(x). The hidden width is 2/3 of ratio * width, rounded up
/// to 16, so that it costs what a plain feed-forward of that ratio costs.
class FeedForward {
 public:
  /// Where several tensor ranks share it each has a part of the hidden width, and some of the
  /// tokens.
  FeedForward(const ParameterScope& scope, int64_t width, double ratio,
              const Communicator& tensor = {});
  /// x: B T N D -> the same; of this rank's tokens, where `shares` says how many each rank has.
  at::Tensor forward(const at::Tensor& x, const TokenShares& shares = {}) const;
  int64_t hidden() const { return hidden_; }  // over all ranks

 private:
  int64_t hidden_;
  Communicator tensor_;
  Linear up_, down_;
};

struct BlockShape {
  AttentionShape attention;
  double mlp_ratio = 4;
  at::ScalarType compute = at::kFloat;  // dtype of matrix products
};

/// Thread-safe for inference. x: B T N D float32; condition: B T D float32 (after its activation).
/// Where several ranks share the tokens, `shares` says how, x and the condition are of this rank's
/// frames and tokens, and the positions are of all.
class Block {
 public:
  Block(const ParameterScope& scope, const BlockShape& shape, const ModelRanks& ranks = {});
  at::Tensor forward(const at::Tensor& x, const at::Tensor& condition,
                     const AttentionPositions& positions, const TokenShares& shares = {}) const;
  at::Tensor step(const at::Tensor& x, const at::Tensor& condition,
                  const AttentionPositions& positions, const CachedFrame& frame, LayerCache& cache,
                  const TokenShares& shares = {}) const;
  const Attention& attention() const { return attention_; }
  const FeedForward& feed_forward() const { return feed_forward_; }

 private:
  template <class Attend>
  at::Tensor run(const at::Tensor& x, const at::Tensor& condition, const TokenShares& shares,
                 Attend attend) const;

  at::ScalarType compute_;
  Linear modulation_;
  Attention attention_;
  FeedForward feed_forward_;
};

}  // namespace praxino
