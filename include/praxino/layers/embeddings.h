#pragma once
// Small embeddings that condition the blocks.

#include <ATen/core/Tensor.h>

#include "praxino/layers/linear.h"

namespace praxino {

/// cos and sin of a signal level at `features / 2` frequencies, geometrically from 1/2 to 64 turns
/// per unit:
/// ... -> ... features, float32.
at::Tensor fourier_features(const at::Tensor& signal, int64_t features);

/// in -> width -> SiLU -> width, float32.
class SmallMlp {
 public:
  SmallMlp(const ParameterScope& scope, int64_t in, int64_t width);
  at::Tensor forward(const at::Tensor& x) const;

 private:
  Linear in_, out_;
};

}  // namespace praxino
