#pragma once
// The ranks that one model is spread over, and which of a clip's tokens each of them holds.
//
// tensor: matrices, heads and the hidden width of the feed-forward are split (arXiv 1909.08053);
// what lies between them, norms and residuals, is split along the tokens of a frame (sequence
// parallelism: Korthikanti et al., arXiv 2205.05198). context: frames are split, and places where a
// layer looks along time (dynamic sequence parallelism: Zhao et al., arXiv 2403.10266); heads where
// every token sees other frames (Ulysses: Jacobs et al., arXiv 2309.14509).

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "praxino/parallel/communicator.h"
#include "praxino/parallel/share.h"

namespace praxino {

struct ModelRanks {
  Communicator tensor;
  Communicator context;
  bool several() const { return tensor.size() * context.size() > 1; }
};

/// How the tokens that enter a block are shared: x is B, own frames, own tokens, D.
struct TokenShares {
  std::vector<int64_t> tokens;  // of a frame, of each tensor rank
  std::vector<int64_t> frames;  // of each context rank; empty: this one has all frames
  /// Whether what the matrices gathered is kept for the backward pass, which else gathers it again
  /// (token_products.h).
  bool keep_gathered = false;
};

/// The tokens of clips of `frames` frames, between the ranks of a model.
class SharedClip {
 public:
  /// `tokens` of every frame. Where not `split_frames`, every context rank does the same work.
  SharedClip(const ModelRanks& ranks, int64_t frames, int64_t tokens, bool split_frames = true);

  /// What this rank holds where layers look inside frames, and where they look along time.
  Share frames(bool along_time) const;
  Share tokens(bool along_time) const;
  TokenShares shares(bool along_time) const;

  /// x as the one way holds it -> as the other does. All ranks together; differentiable.
  at::Tensor turn(const at::Tensor& x, bool along_time) const;
  /// What every rank has made of the tokens that it holds (from token number `first` of a frame on)
  /// -> that of the whole clip, on every rank; the same must be done with it on all of them
  /// (gather_result() of parallel/exchange.h).
  at::Tensor collect(const at::Tensor& own, bool along_time, int64_t first) const;

 private:
  Share tokens_of(int64_t tensor_rank, int64_t context_rank, bool along_time) const;

  ModelRanks ranks_;
  int64_t frames_, tokens_;
  bool split_;
};

}  // namespace praxino
