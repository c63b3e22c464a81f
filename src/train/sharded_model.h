#pragma once
// A model whose optimizer state, and on demand its weights, are spread over the ranks: between the
// trainer and parallel/data_parallel.h or parallel/weight_shards.h.

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "praxino/config/run.h"
#include "praxino/layers/parameters.h"
#include "praxino/model/world_model.h"
#include "praxino/optim/optimizer.h"
#include "praxino/parallel/data_parallel.h"
#include "praxino/parallel/weight_shards.h"
#include "ranks.h"

namespace praxino {

/// Whether a rank keeps its share of the weights alone.
bool shards_weights(const ParallelConfig& config, const Ranks& ranks);

/// Throws praxino::Error (usage) where parallel.shard_weights is asked for and the rest of the run
/// does not go with it.
void check_sharding(const RunConfig& config);

/// Not thread-safe. Borrows `model` and `ranks`, and is told of the blocks' runs
/// (WorldModel::tell_blocks) where weights are sharded. All ranks call the same functions in the
/// same order.
class ShardedModel {
 public:
  /// The axes need not be connected yet: each rank keeps the weights that the model has here, or,
  /// of a sharded one that is not drawn (WorldModelOptions), room for its own. The owners' are
  /// everybody's from the first start_sharing_weights() on. Throws praxino::Error where there are
  /// more ranks than parameters to give them.
  ShardedModel(WorldModel& model, const ParallelConfig& config, const Ranks& ranks);
  ~ShardedModel();
  ShardedModel(const ShardedModel&) = delete;
  ShardedModel& operator=(const ShardedModel&) = delete;

  /// The parameters that this rank updates: their values share the model's memory.
  const Parameters& own() const { return own_; }
  OptimizerRanks optimizer_ranks() const;

  /// Before each forward pass: waits for the weights, and tells whether this micro-batch is the
  /// step's last.
  void before_micro_batch(bool last);
  /// After the last backward pass: the gradients of own() and the scalars are then those of the
  /// whole batch.
  void finish_gradients(std::vector<std::pair<std::string, at::Tensor>>& scalars);
  /// Of the step that finish_gradients() ended, a scalar on the device: 1 + the number of the
  /// model's last parameter to whose gradient this rank itself gave what is not finite; backward
  /// comes to the last one first. 0: it gave none, or, where ranks share the model and hand each
  /// other what is not finite, another of them had it in a later parameter.
  const at::Tensor& spoiled_gradient() const { return spoiled_; }
  /// After own() has changed; settle() waits until every rank has all weights that it keeps, and
  /// rounds the model's copies of them anew: weights travel as float32 and come without.
  void start_sharing_weights();
  void settle();
  /// What is told of the runs of a block where weights are sharded: they are here in between.
  CheckpointHooks hooks_of(int64_t block) const;

 private:
  /// Parameters that the same ranks hold: matrices that are split over the tensor axis by the
  /// replicas of their part, all others by all ranks.
  struct Held {
    std::vector<size_t> members;  // positions in the model
    std::variant<std::unique_ptr<DataParallel>, std::unique_ptr<WeightShards>> parallel;

    /// call(DataParallel or WeightShards)
    template <class Call>
    decltype(auto) with(const Call& call) const {
      return std::visit([&](const auto& p) -> decltype(auto) { return call(*p); }, parallel);
    }
    WeightShards* shards() const {  // null: weights are whole
      const auto* held = std::get_if<std::unique_ptr<WeightShards>>(&parallel);
      return held == nullptr ? nullptr : held->get();
    }
  };
  void find_spoiled();
  void hold(const ParallelConfig& config, bool split);

  WorldModel& model_;
  const Ranks& ranks_;
  std::vector<Held> held_;
  at::Tensor numbers_;  // float32: 1 + the position of each parameter of held_, one after the other
  at::Tensor spoiled_;
  Parameters own_;
  std::vector<at::Tensor> owned_;  // second handles of own()'s values: whose gradients arrive
};

}  // namespace praxino
