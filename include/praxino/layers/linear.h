#pragma once
// A learned matrix, with or without a bias.

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string_view>

#include "praxino/layers/parameters.h"
#include "praxino/ops/linear.h"

namespace praxino {

struct LinearOptions {
  bool bias = false;
  double deviation = -1;  // of the initial weights; below 0: 1 / sqrt(in)
  ParameterRole role = ParameterRole::kMatrix;
  std::optional<Slice> slice = {};  // of the weight: rows (outputs) or columns (inputs)
};

/// Thread-safe for inference. weight: out in, or a slice of it; with a bias it is never sliced.
struct Linear {
  at::Tensor weight;
  at::Tensor bias;
  Linear() = default;
  Linear(const ParameterScope& scope, int64_t in, int64_t out, const LinearOptions& options = {});
  at::Tensor operator()(const at::Tensor& x) const;  // computes in x's dtype (ops/linear.h)
  /// The weight, with its copy where one is kept and up to date (layers/weight_copies.h).
  ops::Matrix matrix() const;

 private:
  std::shared_ptr<const WeightCopy> copy_;
};

}  // namespace praxino
