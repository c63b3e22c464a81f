#pragma once
// Cross-entropy with integer targets. Differentiable, thread-safe.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace praxino::ops {

struct CrossEntropyOptions {
  at::Tensor weights = {};       // R float32, of each row's loss; undefined: all 1
  int64_t ignore_target = -100;  // rows with this target have neither loss nor gradient
};

/// The loss of each row: weight (log sum exp(logits) - logits[target]). logits: R V float32 or
/// bfloat16; targets: R int64 on the same device; result: R float32. Targets outside of [0, V) that
/// are not ignored give NaN on a GPU, and an error on the CPU. No gradient for the weights.
///
/// On a GPU the logits are consumed: forward writes their gradient over them (one read, one write),
/// so do not use them afterwards; autograd reports it where another operation had kept them for its
/// own backward pass. Logits that are a leaf, or a view of one, are copied first. Backward
/// multiplies by the incoming gradient, in place, and touches nothing in rows where that is 1: put
/// the factor of a mean into `weights` and sum the losses. Backward runs once; a second time is a
/// c10::Error. Without gradient mode, or where logits need no gradient, nothing is overwritten.
at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& targets,
                         const CrossEntropyOptions& options = {});

namespace formula {
at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& targets,
                         const CrossEntropyOptions& options = {});
}

}  // namespace praxino::ops
