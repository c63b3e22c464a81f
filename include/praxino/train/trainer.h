#pragma once
// The training loop: it joins the loader, the tokenizer, the objective, the model, the optimizer
// and the checkpoints. One trainer for every objective and model. The step reads as the data flow
// in docs/architecture.md.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "praxino/base/start_clock.h"
#include "praxino/config/run.h"
#include "praxino/optim/optimizer.h"
#include "praxino/parallel/mesh.h"
#include "praxino/rollout/world.h"

namespace praxino {

struct TrainOptions {
  bool fresh = false;          // start over: the old run directory is moved aside
  std::filesystem::path from;  // fine-tune: weights of this run or checkpoint; empty: from scratch
  std::shared_ptr<const Mesh> mesh = {};  // of all ranks of the run; nothing: one process
  int64_t local_ranks = 1;                // how many of them share this machine's processors
  std::string device = {};                // of this rank; empty: run.device
  StartClock start = {};                  // what came before the trainer
};

/// One a rank. Rank 0 alone writes logs and pictures; all write checkpoints and evaluate, in step.
/// All ranks see the same folders. Whatever the mesh, the same global batches in the same order.
/// Not thread-safe. Throws praxino::Error for everything that a person can mend; of several ranks
/// none goes on after one.
class Trainer {
 public:
  /// First compares configuration, version and mesh of all ranks, and refuses what differs. Then
  /// opens the data, builds or restores the world, and resumes from the newest whole checkpoint of
  /// the run directory when there is one. A run directory whose configuration differs in what the
  /// weights depend on is refused.
  Trainer(const RunConfig& config, const TrainOptions& options);
  ~Trainer();

  /// Trains to the end, with checkpoints, evaluations and logs as configured. Returns the exit
  /// code: 0 done, 3 an expectation missed, 130 or 143 stopped by a signal after a checkpoint.
  int run();

  /// One optimizer step.
  StepStats step();
  /// Writes the checkpoint of the steps done, unless it is there already.
  void save();

  int64_t steps_done() const;
  double loader_wait_seconds() const;  // of the last step
  /// Up to the end of the first step; rank 0 logs it then.
  const StartClock& start() const;
  const World& world() const;
  const std::filesystem::path& directory() const;

 private:
  int train_to_end();
  void step_or_save();

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace praxino
