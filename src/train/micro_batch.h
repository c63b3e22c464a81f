#pragma once
// The data flow of a micro-batch, as in docs/architecture.md: from frames to gradients.

#include "praxino/data/batch.h"
#include "praxino/rollout/world.h"

namespace praxino {

/// A micro-batch, ready for the model, on its device.
struct TrainingPart {
  Corrupted input;
  ActionBatch actions;
};

/// Tokens, corrupted; `batch` is on the world's device. Draws on the host and uploads.
TrainingPart prepare_micro_batch(const World& world, const Batch& batch);

/// Adds the gradients of one of `parts` micro-batches of a step to those of the world's parameters.
/// total of the result is this part's share of the step's loss, the terms are whole. On a GPU it
/// only queues work there.
Loss learn_micro_batch(const World& world, const TrainingPart& part, int64_t parts);

/// Both.
Loss run_micro_batch(const World& world, const Batch& batch, int64_t parts);

}  // namespace praxino
