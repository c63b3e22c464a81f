#pragma once
// Data parallelism with sharded optimizer state (ZeRO-1: Rajbhandari et al., "ZeRO: Memory
// Optimizations Toward Training Trillion Parameter Models", SC 2020). Each parameter has one rank
// that keeps its master, its moments and its average. Gradients are reduce-scattered in flat
// buckets while backward still runs; after the update the weights are all-gathered in place.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "praxino/parallel/communicator.h"

namespace praxino {

struct DataParallelOptions {
  int64_t bucket_bytes = int64_t{32} << 20;  // of gradients; smaller ones begin to travel earlier
  at::ScalarType gradients = at::kFloat;     // in which they travel and are summed; or kBFloat16
  /// The sum of the gradients over the ranks is divided by this: how many of them see clips of
  /// their own. 0: all do.
  int64_t averaged_over = 0;
  /// Elements to reserve for each parameter, where another group's are larger and the same ranks
  /// must own the same parameters in both. Empty: as large as they are.
  std::vector<int64_t> reserved = {};

  /// Both as they are meant where they are left out.
  int64_t divisor(int64_t ranks) const { return averaged_over > 0 ? averaged_over : ranks; }
  int64_t reserved_for(size_t parameter, int64_t elements) const {
    return reserved.empty() ? elements : reserved[parameter];
  }
};

/// A step: before_backward() and backward() for every micro-batch, then reduce_gradients(), an
/// update of the owned() weights from their gradients, gather_weights(), and wait_for_weights()
/// before the next forward pass. Not thread-safe; backward() may run its hooks on other threads.
class DataParallel {
 public:
  /// `parameters`: leaves (float32) in the order of their use in the forward pass, the same on all
  /// ranks; their gradients become ready in the opposite order. Their values move into flat buckets
  /// (the handles stay valid). No rank waits for another: where they differ those of the owners
  /// count, once they have been gathered.
  DataParallel(std::vector<at::Tensor> parameters, const Communicator& ranks,
               const DataParallelOptions& options = {});
  ~DataParallel();
  DataParallel(const DataParallel&) = delete;
  DataParallel& operator=(const DataParallel&) = delete;

  /// Whether this rank updates parameter `i`.
  bool owns(size_t i) const;
  /// Second handles to the weights that this rank updates, by number of parameter (undefined for
  /// the others): leaves that share the memory of the parameters, for the optimizer and the
  /// average.
  const std::vector<at::Tensor>& owned() const;

  /// Before each micro-batch's backward(). Gradients of all but the `last` are only added up.
  void before_backward(bool last);
  /// After the last backward(): waits until the gradients of owned() are those of all ranks
  /// (their average, or as options.averaged_over says). Parameters without a gradient count as
  /// zero. Afterwards no parameter itself has a gradient.
  void reduce_gradients();
  /// Of the step that reduce_gradients() has ended: [parameters], float32, the Euclidean norm of
  /// what this rank alone gave to each gradient (zero: nothing), taken before the sum. Where it is
  /// not finite, what this rank gave was not, or too large for a norm.
  const at::Tensor& own_norms() const;
  /// Starts to bring every rank the weights as their owners have them now.
  void gather_weights();
  /// Nobody may read the weights between gather_weights() and this.
  void wait_for_weights();

  /// Bytes of the masters that this rank keeps: what a copy of owned() would take.
  int64_t owned_bytes() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the hooks
};

}  // namespace praxino
