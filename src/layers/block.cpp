#include "praxino/layers/block.h"

#include <cmath>

#include "praxino/ops/norm.h"

namespace praxino {
namespace {

int64_t hidden_width(int64_t width, double ratio) {
  return (static_cast<int64_t>(std::ceil(static_cast<double>(width) * ratio * 2.0 / 3.0)) + 15) /
         16 * 16;
}

}  // namespace

FeedForward::FeedForward(const ParameterScope& scope, int64_t width, double ratio)
    : up_(scope.child("up"), width, 2 * hidden_width(width, ratio)),
      down_(scope.child("down"), hidden_width(width, ratio), width, {.deviation = 0}) {}

at::Tensor FeedForward::forward(const at::Tensor& x) const { return down_(ops::swiglu(up_(x))); }

Block::Block(const ParameterScope& scope, const BlockShape& shape)
    : compute_(shape.compute),
      modulation_(scope.child("modulation"), shape.attention.width, 6 * shape.attention.width,
                  {.bias = true, .deviation = 0, .role = ParameterRole::kProjection}),
      attention_(scope.child("attention"), shape.attention),
      feed_forward_(scope.child("feed_forward"), shape.attention.width, shape.mlp_ratio) {}

template <class Attend>
at::Tensor Block::run(const at::Tensor& x, const at::Tensor& condition, Attend attend) const {
  const std::vector<at::Tensor> m = modulation_(condition).chunk(6, -1);
  // Gates start at one: the zero output matrices already make every branch start at nothing.
  const at::Tensor h = ops::norm_modulate(x, m[0], m[1], compute_);
  const at::Tensor y = ops::gate_add(x, m[2] + 1, attend(h));
  return ops::gate_add(y, m[5] + 1,
                       feed_forward_.forward(ops::norm_modulate(y, m[3], m[4], compute_)));
}

at::Tensor Block::forward(const at::Tensor& x, const at::Tensor& condition,
                          const AttentionPositions& positions) const {
  return run(x, condition, [&](const at::Tensor& h) { return attention_.forward(h, positions); });
}

at::Tensor Block::step(const at::Tensor& x, const at::Tensor& condition,
                       const AttentionPositions& positions, const CachedFrame& frame,
                       LayerCache& cache) const {
  return run(x, condition,
             [&](const at::Tensor& h) { return attention_.step(h, positions, frame, cache); });
}

}  // namespace praxino
