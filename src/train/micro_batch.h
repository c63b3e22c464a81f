#pragma once
// The data flow of a micro-batch, as in docs/architecture.md: from frames to gradients.

#include "praxino/data/batch.h"
#include "praxino/rollout/world.h"

namespace praxino {

/// Adds the gradients of one of `parts` micro-batches of a step to those of the world's parameters.
/// `batch` is on the world's device. total of the result is this part's share of the step's loss,
/// the terms are whole.
Loss run_micro_batch(const World& world, const Batch& batch, int64_t parts);

}  // namespace praxino
