#include "praxino/ops/cross_entropy.h"

#include <ATen/ops/cross_entropy_loss.h>

#include "fused_cuda.h"

namespace praxino::ops {

using at::Tensor;

Tensor formula::cross_entropy(const Tensor& logits, const Tensor& targets,
                              const CrossEntropyOptions& options) {
  const Tensor losses = at::cross_entropy_loss(logits.to(at::kFloat), targets, /*weight=*/{},
                                               at::Reduction::None, options.ignore_target);
  return options.weights.defined() ? losses * options.weights : losses;
}

Tensor cross_entropy(const Tensor& logits, const Tensor& targets,
                     const CrossEntropyOptions& options) {
  TORCH_CHECK(logits.dim() == 2 && targets.dim() == 1 && logits.size(0) == targets.size(0),
              "cross_entropy: logits must be R V and targets R, not ", logits.sizes(), " and ",
              targets.sizes());
  if constexpr (cuda::kBuilt) {
    if (const auto losses = cuda::checked::cross_entropy(logits, targets, options)) return *losses;
  }
  return formula::cross_entropy(logits, targets, options);
}

}  // namespace praxino::ops
