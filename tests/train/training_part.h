#pragma once
// Two clips of 4 pictures of 16 x 16 without actions, as a model learns from them.

#include <ATen/ops/zeros.h>

#include "support/tensors.h"
#include "train/micro_batch.h"

namespace praxino::testing {

/// The same whenever it is asked for.
inline TrainingPart training_part(const World& world, uint64_t sample) {
  const at::Tensor pictures =
      (normal({2, 4, 3, 16, 16}, sample) * 40 + 128).clamp(0, 255).to(at::kByte);
  const auto number = static_cast<int64_t>(sample);
  return {.input = world.objective->corrupt(world.tokenizer->encode(pictures).values,
                                            {1, {number, number + 100}}),
          .actions = {.values = at::zeros({2, 4, 0}), .known = at::zeros({2, 4}, at::kBool)}};
}

}  // namespace praxino::testing
