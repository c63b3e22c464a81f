#pragma once
// Where the keys and values of a rollout's past lie, and which of them a new frame sees.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "praxino/ops/attention.h"

namespace praxino {

/// Slots of a ring: frame n lies in slot n for the first `sinks` frames and else in sinks + (n -
/// sinks) % window, so a new frame overwrites the one that has just left the window. Pure
/// arithmetic.
struct CacheSlots {
  int64_t window = 0;  // >= 1
  int64_t sinks = 0;
  constexpr int64_t capacity() const { return sinks + window; }
  constexpr int64_t slot(int64_t frame) const {
    return frame < sinks ? frame : sinks + (frame - sinks) % window;
  }
  /// Slots in use once `frame` has been written.
  constexpr int64_t used(int64_t frame) const {
    return frame + 1 < capacity() ? frame + 1 : capacity();
  }
  /// The place of each used slot in the order of frames: 0 for the oldest kept frame .. used - 1
  /// for `frame` itself. It is the position in time that attention sees: true distances inside the
  /// window, sinks right before it.
  std::vector<int64_t> order(int64_t frame) const;
};

/// Keys (normalized, not rotated) and values of one layer: B slots N G K.
struct LayerCache {
  at::Tensor keys;
  at::Tensor values;
};

}  // namespace praxino
