#pragma once
// Between the parts of a training run and one checkpoint.

#include <cstdint>
#include <string>

#include "praxino/checkpoint/store.h"
#include "praxino/data/loader.h"
#include "praxino/optim/optimizer.h"
#include "praxino/rollout/world.h"

namespace praxino {

/// What a run counts besides its weights.
struct RunCounters {
  int64_t step = 0;
  double elapsed_seconds = 0;  // of training, over all starts
  int64_t skipped_steps = 0;
  int64_t skipped_in_a_row = 0;
  LoaderState loader;
  uint64_t content_hash = 0;    // of the data set
  int64_t evaluated_step = -1;  // of the newest evaluation
};

/// Borrows everything. Optimizer and averages are those of `own`: the world's parameters, or one
/// rank's share of them.
struct TrainParts {
  World& world;
  const Parameters& own;
  Optimizer& optimizer;
  Ema& ema;
  Communicator tensor = {};  // the ranks that hold the other parts of split matrices
};

/// This rank's share: its parameters' weights, moments and averages, and on the `first` rank what
/// all have alike. Split matrices are put together, each on one of the ranks of parts.tensor, all
/// of which call this together: a checkpoint does not show how a run was laid out.
TrainState capture_state(const TrainParts& parts, const RunCounters& counters, bool first);

/// What capture_state() would give, as far as names, types and sizes go: values mean nothing, and
/// no rank waits for another.
TrainState state_like(const TrainParts& parts, const RunCounters& counters, bool first);

/// What restore_state() needs of a checkpoint: weights, averages and moments of `own`.
WantedTensor wanted_by(const TrainParts& parts);

/// Copies weights, averages and moments of `own` back and returns the counters; several ranks must
/// share their weights after it (ShardedModel::start_sharing_weights). Throws praxino::Error naming
/// what is missing.
RunCounters restore_state(const TrainState& state, const TrainParts& parts);

}  // namespace praxino
