#pragma once
// Flat tensors that hold a segment of every rank, one after the other (praxino/parallel/buckets.h).

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "praxino/parallel/communicator.h"

namespace praxino {

/// Rank `rank`'s segment of `flat`. `begins`: of every rank's segment, and the end.
inline at::Tensor segment_of(const at::Tensor& flat, const std::vector<int64_t>& begins,
                             int64_t rank) {
  const int64_t begin = begins[static_cast<size_t>(rank)];
  return flat.narrow(0, begin, begins[static_cast<size_t>(rank) + 1] - begin);
}

/// Waits for all, in their order; none is left.
inline void wait_for(std::vector<Pending>& pending) {
  for (Pending& one : pending) one.wait();
  pending.clear();
}

}  // namespace praxino
