#pragma once
// Activation checkpointing: the function runs without a graph and again in the backward pass (Chen
// et al., arXiv 1604.06174). The function must be deterministic; it draws no random numbers here.

#include <ATen/core/Tensor.h>

#include <functional>

namespace praxino {

enum class Pass { kForward, kBackward };

/// Is told when a checkpointed function runs, so that its weights need to exist only then: before
/// each of its two runs, and after it; in the backward pass that is when the gradients of
/// everything that it used are there. Called on the threads of forward() and backward(), one after
/// the other. Empty functions are not called.
struct CheckpointHooks {
  std::function<void(Pass)> before;
  std::function<void(Pass)> after;
};

/// Same value and gradients as run(x, condition), without keeping what lies between. At least one
/// of both inputs must require a gradient.
at::Tensor checkpointed(std::function<at::Tensor(const at::Tensor&, const at::Tensor&)> run,
                        const at::Tensor& x, const at::Tensor& condition,
                        CheckpointHooks hooks = {});

}  // namespace praxino
