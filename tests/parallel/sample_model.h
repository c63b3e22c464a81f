#pragma once
// A small model whose gradients data parallelism is asked for: two layers, a parameter that some
// batches do not use, and activation checkpointing on demand.

#include <ATen/TensorOperators.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tanh.h>

#include <vector>

#include "praxino/layers/checkpointing.h"
#include "support/tensors.h"

namespace praxino::testing {

struct SampleModel {
  // Two matrices, two vectors, and one parameter that only use_extra brings in.
  std::vector<at::Tensor> parameters;

  explicit SampleModel(uint64_t seed = 5) {
    const std::vector<std::vector<int64_t>> shapes = {{24, 10}, {24}, {24, 24}, {3, 24}, {3}};
    for (const std::vector<int64_t>& shape : shapes) {
      parameters.push_back(normal(shape, seed++).mul(0.3).requires_grad_());
    }
  }

  at::Tensor loss(const at::Tensor& x, const at::Tensor& y, bool checkpoint = false,
                  bool use_extra = true) const {
    const auto& p = parameters;
    at::Tensor hidden = at::tanh(at::linear(x, p[0], p[1]));
    const auto block = [&](const at::Tensor& in, const at::Tensor&) {
      return at::tanh(at::linear(in, p[2])) + in;
    };
    hidden = checkpoint ? checkpointed(block, hidden, x) : block(hidden, x);
    at::Tensor out = at::linear(hidden, p[3]);
    if (use_extra) out = out + p[4];
    return (out - y).square().mean();
  }
};

/// Rows [begin, begin + rows) of one data set that all ranks know.
inline at::Tensor inputs(int64_t begin, int64_t rows) {
  return normal({64, 10}, 77).narrow(0, begin, rows);
}
inline at::Tensor targets(int64_t begin, int64_t rows) {
  return normal({64, 3}, 78).narrow(0, begin, rows);
}

}  // namespace praxino::testing
