#pragma once
// `praxino bench train`: how fast a run trains on this machine, beside what the machine multiplies
// matrices at in the same process.

#include <cstdint>
#include <string>

#include "praxino/config/run.h"

namespace praxino {

struct TrainBenchOptions {
  int64_t warm_up = 5;  // steps before the measured ones, the first of all included
  int64_t steps = 20;   // measured
};

struct TrainBench {
  std::string run;
  std::string device;     // "cpu, 2 threads", "cuda:0"
  std::string precision;  // of the matrix products: "bf16" or "fp32"
  int64_t steps = 0;      // measured
  // Seconds of a step, loader included; the device has finished each before the next begins.
  double median = 0;
  double low = 0;            // the quantile of 20 %
  double high = 0;           // of 80 %
  double first_step = 0;     // from the opening of the data to the end of the first step
  double loader_wait = 0;    // share of the measured time
  double tokens = 0;         // of a step, registers included
  double frames = 0;         // of a step
  double flops = 0;          // of a step: 3 x the forward pass, without what checkpointing repeats
  double peak_flops = 0;     // a second, of a matrix product in the same precision
  int64_t product_size = 0;  // its n: n x n by n x n
  double peak_bytes = 0;     // CPU: resident memory of the process; GPU: tensors of the step
  double tokens_per_second() const { return tokens / median; }
  double flops_per_second() const { return flops / median; }
  double mfu() const { return flops_per_second() / peak_flops; }
};

/// Trains from scratch in a folder that is removed afterwards; run.output and run.name are left
/// alone, no checkpoint and no evaluation is made. Throws praxino::Error as the Trainer does.
TrainBench measure_training(RunConfig config, const TrainBenchOptions& options);

/// A page for people.
std::string to_text(const TrainBench& bench);
/// The same for machines.
std::string to_json(const TrainBench& bench);

}  // namespace praxino
