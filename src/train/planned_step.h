#pragma once
// A training step on tensors without memory: what it would allocate.

#include <cstdint>
#include <memory>
#include <vector>

#include "allocation_log.h"
#include "praxino/config/actions.h"
#include "praxino/config/run.h"

namespace praxino {

/// What a step is planned for.
struct StepPlanOptions {
  at::DeviceType device = at::kCPU;  // whose code the operations go through
  bool bf16 = false;                 // matrix products in bfloat16
  int64_t weight_ranks = 1;          // among which parallel.shard_weights shards
};

struct PlannedStep {
  int64_t matrices = 0;      // elements of parameters inside the blocks
  int64_t others = 0;        // of those at the border, of conditioning, gains and biases
  int64_t in_blocks = 0;     // of all parameters of the blocks
  double forward_flops = 0;  // of one clip
  std::shared_ptr<const AllocationLog> log;
  MemoryPeak peak;            // of one process, or of one of weight_ranks
  MemoryByKind lasting;       // between two steps: weights, moments, averages
  int64_t gradients = 0;      // bytes at the end of the backward pass
  int64_t activations = 0;    // most at one time, whatever else was live then
  double sent = 0;            // bytes, where weights are sharded
  int64_t rollout_cache = 0;  // keys and values of eval.batch rollouts
};

/// One process's step; with several weight_ranks that of a rank whose weights, gradients, moments
/// and averages are its share, from the code that shares them. Builds the model, the optimizer and
/// the averages of `config` on at::kMeta and runs the trainer's own micro-batches, optimizer step
/// and update of the averages on them. No memory is allocated and nothing is computed, so that any
/// size takes milliseconds a block.
PlannedStep plan_step(const RunConfig& config, const std::vector<ActionField>& fields,
                      const StepPlanOptions& options);

}  // namespace praxino
