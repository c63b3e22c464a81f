#include "micro_batch.h"

namespace praxino {

TrainingPart prepare_micro_batch(const World& world, const Batch& batch) {
  const Tokens tokens = world.tokenizer->encode(batch.frames);
  TrainingPart part{
      .input = world.objective->corrupt(
          tokens.values, {static_cast<uint64_t>(world.config.run.seed), batch.samples}),
      .actions = {.values = batch.actions, .known = {}}};
  part.actions.known = batch.known.logical_and(part.input.hide_actions.logical_not().unsqueeze(1));
  return part;
}

Loss learn_micro_batch(const World& world, const TrainingPart& part, int64_t parts) {
  const at::Tensor prediction = world.model->forward(part.input.z, part.input.signal, part.actions);
  Loss loss = world.objective->loss(prediction, part.input);
  loss.total = loss.total / static_cast<double>(parts);
  loss.total.backward();
  return loss;
}

Loss run_micro_batch(const World& world, const Batch& batch, int64_t parts) {
  return learn_micro_batch(world, prepare_micro_batch(world, batch), parts);
}

}  // namespace praxino
