#pragma once
// Commands that run alone, with --ranks N, or as one rank of torchrun, srun or mpirun.

#include <cstdint>
#include <functional>
#include <optional>

#include "praxino/config/run.h"
#include "praxino/train/trainer.h"

namespace CLI {
class App;
}  // namespace CLI

namespace praxino {

struct RanksRequest {
  int64_t ranks = 0;                       // of --ranks; 0: not given
  std::function<int64_t()> progress = {};  // as SpawnOptions::progress
  int64_t fruitless = 3;                   // as SpawnOptions::fruitless
};

/// Adds --ranks; `ranks` outlives the parsing of `command`.
void add_ranks_option(CLI::App& command, int64_t& ranks);

/// Where this process is to be the launcher: runs copies of itself and returns their exit code.
/// Otherwise nothing: this process is one of the ranks, and has joined the others, if there are
/// any; `options` then say so. Throws praxino::Error (wrong usage) where the ranks cannot share the
/// run's batches, or --ranks contradicts the launcher, before anything is started.
std::optional<int> launch_ranks(const RunConfig& config, const RanksRequest& request,
                                TrainOptions& options);

}  // namespace praxino
