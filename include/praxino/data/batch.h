#pragma once
// What the loader hands to the trainer.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace praxino {

/// Stacked clips. Tensors are on the CPU (pinned if there is a GPU) until to().
struct Batch {
  at::Tensor frames;             // B T C Y X, uint8
  at::Tensor actions;            // B T A, float32: raw field values; 0 where unknown
  at::Tensor known;              // B T, bool: the action is known
  std::vector<int64_t> samples;  // B global sample numbers
  double wait_seconds = 0;       // how long next() waited for it

  /// A copy on `device`, asynchronous from pinned memory.
  Batch to(const at::Device& device) const;
};

}  // namespace praxino
