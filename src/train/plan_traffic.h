#pragma once
// What the ranks of a mesh say to each other in a step. Pure arithmetic; the formulas are in
// docs/scaling.md.

#include <cstdint>
#include <vector>

#include "praxino/train/plan.h"

namespace praxino {

/// One rank's part of a step.
struct RankStep {
  int64_t data = 1;  // ranks on each axis
  int64_t tensor = 1;
  int64_t context = 1;
  double parameters = 0;      // elements that a rank multiplies with
  double in_blocks = 0;       // of them those of the blocks
  double tokens = 0;          // of a micro-batch, before tensor and context divide them
  int64_t compute_bytes = 4;  // of an element in the matrix products
};

std::vector<Traffic> plan_traffic(const RunConfig& config, const RankStep& rank);

}  // namespace praxino
