#pragma once
// What one of several ranks sees of its own step: how long it computed, and whether the weights it
// computed with were those that the others had.

#include <c10/core/Event.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device_scalars.h"
#include "praxino/config/run.h"
#include "praxino/layers/parameters.h"
#include "praxino/model/world_model.h"
#include "praxino/parallel/replica_check.h"
#include "ranks.h"
#include "slow_ranks.h"

namespace praxino {

/// Not thread-safe. Borrows `ranks`, of which there are several.
class StepWatch {
 public:
  /// `own`: the parameters of `model` that this rank updates.
  StepWatch(const RunConfig& config, const Ranks& ranks, const WorldModel& model,
            const Parameters& own);

  void begins(int64_t step);
  /// Before the first forward pass, with all weights here.
  void weights_arrived();
  /// After the last backward pass, before anything waits for the other ranks' gradients. Throws
  /// praxino::Error on all ranks where one of them has other weights (parallel/replica_check.h).
  void backward_done();
  /// Seconds between the two in the newest step of which that is known, without what this rank
  /// waited for others on the host. On a GPU by the clock of its stream, in which waits for ranks
  /// of the tensor and context axes count.
  double compute_seconds();
  /// Of a step that all skip: whether it was this rank's own loss that was not finite, or what it
  /// gave to a gradient (ShardedModel::spoiled_gradient), with its part of the samples.
  void tell_own_part(const ArrivedScalars& step, const std::vector<int64_t>& samples) const;
  /// Names slow ranks in the log of rank 0, by the paces of all in the step before.
  void compare(const std::vector<RankPace>& paces);

 private:
  double waited() const;

  const Ranks& ranks_;
  std::vector<std::string> names_;  // of the model's parameters
  int64_t batch_, every_;
  std::vector<ReplicaCheck> checks_;
  SlowRanks slow_;
  c10::Device device_;
  int64_t step_ = 0;
  bool checking_ = false;
  double began_ = 0, waited_ = 0, seconds_ = 0;
  std::deque<std::pair<c10::Event, c10::Event>> events_;
};

}  // namespace praxino
