#pragma once
// `praxino bench train`: how fast a run trains on this machine, or on all machines of its ranks,
// beside what they multiply matrices at in the same processes, and what of the step its collectives
// take.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "praxino/config/run.h"
#include "praxino/train/trainer.h"

namespace praxino {

struct TrainBenchOptions {
  int64_t warm_up = 5;   // steps before the measured ones, the first of all included
  int64_t steps = 20;    // measured
  bool compare = false;  // also without the other ranks (TrainComparison); no effect on one rank
  TrainOptions launch = {};  // mesh, place and start of this rank; fresh and from do not count
};

/// The same ranks in the same processes, in turns with steps of all of them: one data rank's clips
/// a step by a process that knows no others.
struct TrainComparison {
  int64_t steps = 0;    // of each kind
  double together = 0;  // median seconds of a step of all ranks
  double alone = 0;     // of rank 0, while the others wait without computing
  double apart = 0;     // of all ranks at the same time, the slowest one's: no collectives
};

struct TrainBench {
  std::string run;
  std::string device;     // "cpu, 2 threads", "cuda:0": of a rank
  std::string precision;  // of the matrix products: "bf16" or "fp32"
  MeshShape mesh;
  int64_t steps = 0;  // measured
  // Seconds of a step, loader included; the device has finished each before the next begins.
  double median = 0;
  double low = 0;          // the quantile of 20 %
  double high = 0;         // of 80 %
  StartClock start;        // to the end of the first step
  double loader_wait = 0;  // share of the measured time, of the rank that waited longest
  /// Share of the measured time in which a rank stood still for the collectives of each group of
  /// ranks (Mesh::waited()), as the mean of all ranks. On a GPU without "world", whose decisions
  /// the host waits for while the GPU works.
  std::vector<std::pair<std::string, double>> exposed;
  double exposed_most = 0;   // all groups, of the rank that waited longest
  int64_t exposed_rank = 0;  // which one
  double tokens = 0;         // of a step of all ranks, registers included
  double frames = 0;         // of a step of all ranks
  double flops = 0;  // of a step of all: 3 x the forward pass, without what checkpointing repeats
  double peak_flops =
      0;  // a second, of a matrix product in the same precision on all ranks at once
  int64_t product_size = 0;  // its n: n x n by n x n
  double peak_bytes = 0;     // of the fullest rank. CPU: resident memory; GPU: tensors of the step
  std::optional<TrainComparison> comparison;

  int64_t ranks() const { return mesh.ranks(); }
  double first_step() const { return start.total(); }
  double tokens_per_second() const { return tokens / median; }
  double flops_per_second() const { return flops / median; }
  double mfu() const { return flops_per_second() / peak_flops; }
  double exposed_share() const;  // of all groups
  /// Tokens a second and rank against those of one process alone. REQUIRES: comparison.
  double weak_scaling() const {
    return comparison->alone * static_cast<double>(mesh.data) /
           (comparison->together * static_cast<double>(ranks()));
  }
};

/// Trains from scratch in a folder for temporary files that is removed afterwards; run.output and
/// run.name are left alone, no checkpoint and no evaluation is made. Called by every rank of
/// launch.mesh; times of steps are each
/// rank's own, the rest is the same on all. Throws praxino::Error as the Trainer does.
TrainBench measure_training(RunConfig config, const TrainBenchOptions& options);

/// A page for people.
std::string to_text(const TrainBench& bench);
/// The same for machines.
std::string to_json(const TrainBench& bench);

}  // namespace praxino
