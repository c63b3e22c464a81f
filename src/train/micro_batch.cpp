#include "micro_batch.h"

namespace praxino {

Loss run_micro_batch(const World& world, const Batch& batch, int64_t parts) {
  const Tokens tokens = world.tokenizer->encode(batch.frames);
  const Corrupted input = world.objective->corrupt(
      tokens.values, {static_cast<uint64_t>(world.config.run.seed), batch.samples});
  const at::Tensor known = batch.known.logical_and(input.hide_actions.logical_not().unsqueeze(1));
  const at::Tensor prediction = world.model->forward(input.z, input.signal, {batch.actions, known});
  Loss loss = world.objective->loss(prediction, input);
  loss.total = loss.total / static_cast<double>(parts);
  loss.total.backward();
  return loss;
}

}  // namespace praxino
