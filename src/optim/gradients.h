#pragma once
// What one step knows about all gradients together. Every value is a scalar on the device.

#include <ATen/core/Tensor.h>

#include <vector>

#include "praxino/optim/optimizer.h"

namespace praxino {

/// The verdict over a step's gradients.
struct GradientCheck {
  at::Tensor norm;     // Euclidean, over all gradients
  at::Tensor divisor;  // max(1, norm / clip): what every gradient is divided by
  at::Tensor finite;   // bool: loss and norm are finite, the step may be taken
  at::Tensor skipped;  // 1.0 where not finite, else 0.0 (`found_inf` of fused kernels)
};

/// The gradients of `parameters`, contiguous; zeros where one is undefined.
/// REQUIRES: at least one is defined (c10::Error: backward was not called).
std::vector<at::Tensor> gather_gradients(const std::vector<at::Tensor>& parameters);

/// `clip` 0: no clipping. `sum`: where the gradients are one rank's share of all.
GradientCheck check_gradients(const std::vector<at::Tensor>& gradients, const at::Tensor& loss,
                              double clip, const SumOverRanks& sum = {});

/// Sets the gradients of `parameters` to undefined.
void clear_gradients(const std::vector<at::Tensor>& parameters);

}  // namespace praxino
