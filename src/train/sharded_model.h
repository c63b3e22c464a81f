#pragma once
// A model whose optimizer state is spread over the ranks: between the trainer and
// parallel/data_parallel.h.

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "praxino/config/run.h"
#include "praxino/layers/parameters.h"
#include "praxino/optim/optimizer.h"
#include "praxino/parallel/data_parallel.h"
#include "ranks.h"

namespace praxino {

/// Not thread-safe. Borrows `model` and `ranks`. All ranks call the same functions in the same
/// order.
class ShardedModel {
 public:
  /// Every rank's weights become those of rank 0. Throws praxino::Error where there are more ranks
  /// than parameters to give them.
  ShardedModel(const Parameters& model, const ParallelConfig& config, const Ranks& ranks);

  /// The parameters that this rank updates: their values share the model's memory.
  const Parameters& own() const { return own_; }
  OptimizerRanks optimizer_ranks() const;

  /// Before each forward pass: waits for the weights, and tells whether this micro-batch is the
  /// step's last.
  void before_micro_batch(bool last);
  /// After the last backward pass: the gradients of own() and the scalars are then those of the
  /// whole batch.
  void finish_gradients(std::vector<std::pair<std::string, at::Tensor>>& scalars);
  /// After own() has changed; settle() waits until every rank has all weights.
  void start_sharing_weights();
  void settle();

 private:
  /// Parameters that the same ranks hold: matrices that are split over the tensor axis by the
  /// replicas of their part, all others by all ranks.
  struct Held {
    std::vector<size_t> members;  // positions in the model
    std::unique_ptr<DataParallel> parallel;
  };
  void hold(const Parameters& model, const ParallelConfig& config, bool split);

  const Ranks& ranks_;
  std::vector<Held> held_;
  Parameters own_;
  std::vector<at::Tensor> owned_;  // second handles of own()'s values: whose gradients arrive
};

}  // namespace praxino
