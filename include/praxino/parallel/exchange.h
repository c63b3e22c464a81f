#pragma once
// Collectives inside a model: differentiable, each the adjoint of another. They follow one rule:
// the loss of a step is a sum over ranks, every rank differentiates its own term, and a parameter
// that several ranks hold has the sum of their gradients as its gradient.
//
// Every rank of the group calls the same functions in the same order, forward, and so backward.
// `counts` are the lengths of all ranks' pieces along a dim, by rank; they may differ and be 0. In
// a group of one they return their input. Errors: as those of the communicator.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "praxino/parallel/communicator.h"

namespace praxino {

/// This rank's piece -> the pieces of all ranks, joined along `dim`. Backward: scatter_sum().
at::Tensor gather_pieces(const at::Tensor& piece, int64_t dim, const std::vector<int64_t>& counts,
                         const Communicator& group);

/// The sum of all ranks' `whole`, of which this rank takes its piece along `dim`. Backward:
/// gather_pieces().
at::Tensor scatter_sum(const at::Tensor& whole, int64_t dim, const std::vector<int64_t>& counts,
                       const Communicator& group);

/// A piece along `joined` of something whole along `cut` -> the piece along `cut` of the same
/// thing, whole along `joined`: one all-to-all. Backward: the same with both exchanged.
at::Tensor switch_pieces(const at::Tensor& piece, int64_t joined,
                         const std::vector<int64_t>& joined_counts, int64_t cut,
                         const std::vector<int64_t>& cut_counts, const Communicator& group);

/// As gather_pieces(), for what every rank of the group then uses in the same way, and counts once:
/// a loss of the whole that all of them compute. Backward: this rank's piece of the gradient,
/// without a message.
at::Tensor gather_result(const at::Tensor& piece, int64_t dim, const std::vector<int64_t>& counts,
                         const Communicator& group);

/// A collective under way, and what will be made of what arrives. Keeps its tensors alive. Movable;
/// not thread-safe.
class [[nodiscard]] PendingTensor {
 public:
  PendingTensor() = default;  // of nothing
  PendingTensor(Pending pending, std::function<at::Tensor()> finish)
      : pending_(std::move(pending)), finish_(std::move(finish)) {}
  /// As Pending::wait(); the result is of the current stream. REQUIRES: not called before.
  at::Tensor wait();

 private:
  Pending pending_;
  std::function<at::Tensor()> finish_;
};

/// What gather_pieces() and scatter_sum() give, started and not waited for, so that other work can
/// be done beside it. Not differentiated. The input is not written to until the result is there.
PendingTensor start_gather(const at::Tensor& piece, int64_t dim, const std::vector<int64_t>& counts,
                           const Communicator& group);
PendingTensor start_scatter_sum(const at::Tensor& whole, int64_t dim,
                                const std::vector<int64_t>& counts, const Communicator& group);

}  // namespace praxino
