#pragma once
// Tokens of a clip and the grid that they lie on.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "praxino/layers/token_grid.h"

namespace praxino {

/// Continuous tokens: `values` is B T N D float32, N = grid.rows * grid.columns in row-major order
/// of the picture.
struct Tokens {
  at::Tensor values;
  TokenGrid grid;
};

}  // namespace praxino
