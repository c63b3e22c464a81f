#include "praxino/ops/rope.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/pow.h>

#include "fused_cuda.h"

namespace praxino::ops {

RopeSplit rope_split_video(int64_t head_width) {
  const int64_t side = head_width / 6;
  return {head_width / 2 - 2 * side, side, side};
}

RopeSplit rope_split_space(int64_t head_width) {
  const int64_t pairs = head_width / 2;
  return {0, pairs / 2, pairs - pairs / 2};
}

RopeSplit rope_split_time(int64_t head_width) { return {head_width / 2, 0, 0}; }

RopeTable rope_table(const at::Tensor& positions, const RopeSplit& split, double base) {
  std::vector<at::Tensor> angles;
  for (int64_t axis = 0; axis < 3; ++axis) {
    const int64_t pairs = split[static_cast<size_t>(axis)];
    if (pairs == 0) continue;
    const at::Tensor exponent =
        at::arange(pairs, positions.options()).div(-static_cast<double>(pairs));
    const at::Tensor frequency = at::pow(base, exponent);
    angles.push_back(positions.select(1, axis).unsqueeze(1).mul(frequency));
  }
  const at::Tensor all = at::cat(angles, 1);
  return {all.cos(), all.sin()};
}

// Products of bfloat16 and float32 are float32.
at::Tensor formula::rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = x.size(-1) / 2;
  const at::Tensor c = cos.unsqueeze(1);
  const at::Tensor s = sin.unsqueeze(1);
  const at::Tensor x1 = x.narrow(-1, 0, half);
  const at::Tensor x2 = x.narrow(-1, half, half);
  return at::cat({x1 * c - x2 * s, x2 * c + x1 * s}, -1).to(x.scalar_type());
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  if constexpr (cuda::kBuilt) {
    if (const auto y = cuda::checked::rotate(x, cos, sin)) return *y;
  }
  return formula::rotate(x, cos, sin);
}

}  // namespace praxino::ops
