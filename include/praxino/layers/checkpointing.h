#pragma once
// Activation checkpointing: the function runs without a graph and again in the backward pass (Chen
// et al., arXiv 1604.06174). The function must be deterministic; it draws no random numbers here.

#include <ATen/core/Tensor.h>

#include <functional>

namespace praxino {

/// Same value and gradients as run(x, condition), without keeping what lies between. At least one
/// of both inputs must require a gradient.
at::Tensor checkpointed(std::function<at::Tensor(const at::Tensor&, const at::Tensor&)> run,
                        const at::Tensor& x, const at::Tensor& condition);

}  // namespace praxino
