#pragma once
// A training step on tensors without memory: what it would allocate.

#include <cstdint>
#include <memory>
#include <vector>

#include "allocation_log.h"
#include "praxino/config/actions.h"
#include "praxino/config/run.h"
#include "praxino/parallel/mesh.h"
#include "praxino/train/plan.h"

namespace praxino {

/// What a step is planned for.
struct StepPlanOptions {
  at::DeviceType device = at::kCPU;  // whose code the operations go through
  bool bf16 = false;                 // matrix products in bfloat16
  MeshShape mesh = {};               // of which this is the first rank
};

struct PlannedStep {
  int64_t parameters = 0;         // elements of the model
  int64_t parameters_a_rank = 0;  // of those that a rank multiplies with
  double forward_flops = 0;       // of one clip, over all ranks that share it
  std::shared_ptr<const AllocationLog> log;
  MemoryPeak peak;
  MemoryByKind lasting;     // between two steps: weights, moments, averages
  int64_t activations = 0;  // most at one time, whatever else was live then
  std::vector<Traffic> traffic;
  int64_t rollout_cache = 0;  // keys and values of eval.batch rollouts
};

/// The first rank's step: `config` as that rank has it, data.batch the clips of its micro-batch.
/// Builds the model, the optimizer and the averages on at::kMeta, shared as the code of training
/// shares them, and runs the trainer's own micro-batches, exchanges, optimizer step and update of
/// the averages on them. No memory is allocated, nothing is sent or computed, so that any size
/// takes milliseconds a block.
PlannedStep plan_step(const RunConfig& config, const std::vector<ActionField>& fields,
                      const StepPlanOptions& options);

}  // namespace praxino
