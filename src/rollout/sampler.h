#pragma once
// From noise to a frame in K Euler steps: the algebra alone, whatever the network is.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace praxino {

/// The network: noisy tokens at signal level tau -> predicted clean tokens.
using PredictClean = std::function<at::Tensor(const at::Tensor& z, double tau)>;

/// tau = 0, 1/K, ... (K-1)/K, from `noise`; the last step's prediction is the frame. Predictions
/// are clamped to
/// [-1, 1], where pixels lie, before they are used: one that leaves that range would be amplified
/// by the next step.
at::Tensor sample_frame(const PredictClean& predict, at::Tensor noise, int64_t steps);

}  // namespace praxino
