#include "praxino/layers/embeddings.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/silu.h>

#include <numbers>

namespace praxino {

at::Tensor fourier_features(const at::Tensor& signal, int64_t features) {
  constexpr double kLowest = 0.5, kHighest = 64.0;
  const int64_t count = features / 2;
  const at::Tensor step = at::arange(count, signal.options()).div(static_cast<double>(count - 1));
  const at::Tensor turns = at::pow(kHighest / kLowest, step) * kLowest;
  const at::Tensor angle = signal.unsqueeze(-1) * turns * (2 * std::numbers::pi);
  return at::cat({angle.cos(), angle.sin()}, -1);
}

SmallMlp::SmallMlp(const ParameterScope& scope, int64_t in, int64_t width)
    : in_(scope.child("in"), in, width, {.bias = true, .role = ParameterRole::kProjection}),
      out_(scope.child("out"), width, width, {.bias = true, .role = ParameterRole::kProjection}) {}

at::Tensor SmallMlp::forward(const at::Tensor& x) const { return out_(at::silu(in_(x))); }

}  // namespace praxino
