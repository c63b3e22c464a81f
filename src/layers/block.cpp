#include "praxino/layers/block.h"

#include <cmath>

#include "praxino/layers/token_products.h"
#include "praxino/ops/norm.h"

namespace praxino {
namespace {

constexpr int64_t kHiddenUnit = 16;

int64_t hidden_width(int64_t width, double ratio) {
  return (static_cast<int64_t>(std::ceil(static_cast<double>(width) * ratio * 2.0 / 3.0)) +
          kHiddenUnit - 1) /
         kHiddenUnit * kHiddenUnit;
}

}  // namespace

FeedForward::FeedForward(const ParameterScope& scope, int64_t width, double ratio,
                         const Communicator& tensor)
    : hidden_(hidden_width(width, ratio)), tensor_(tensor) {
  LinearOptions up, down{.deviation = 0};
  if (tensor.size() > 1) {
    up.slice = slice_of(0, hidden_, kHiddenUnit, tensor.size(), tensor.rank(), /*copies=*/2);
    down.slice = slice_of(1, hidden_, kHiddenUnit, tensor.size(), tensor.rank());
  }
  up_ = Linear(scope.child("up"), width, 2 * hidden_, up);
  down_ = Linear(scope.child("down"), hidden_, width, down);
}

at::Tensor FeedForward::forward(const at::Tensor& x, const TokenShares& shares) const {
  const at::Tensor hidden = gathered_products(x, {up_.matrix()}, shares, tensor_).front();
  return summed_product(ops::swiglu(hidden), down_.matrix(), shares, tensor_);
}

Block::Block(const ParameterScope& scope, const BlockShape& shape, const ModelRanks& ranks)
    : compute_(shape.compute),
      modulation_(scope.child("modulation"), shape.attention.width, 6 * shape.attention.width,
                  {.bias = true, .deviation = 0, .role = ParameterRole::kProjection}),
      attention_(scope.child("attention"), shape.attention, ranks),
      feed_forward_(scope.child("feed_forward"), shape.attention.width, shape.mlp_ratio,
                    ranks.tensor) {}

template <class Attend>
at::Tensor Block::run(const at::Tensor& x, const at::Tensor& condition, const TokenShares& shares,
                      Attend attend) const {
  // Norms and residuals see this rank's tokens; matrices gather all of them, and hand back sums.
  const std::vector<at::Tensor> m = modulation_(condition).chunk(6, -1);
  // Gates start at one: the zero output matrices already make every branch start at nothing.
  const at::Tensor h = ops::norm_modulate(x, m[0], m[1], compute_);
  const ops::GatedSum y = ops::gate_add_norm(x, m[2] + 1, attend(h), {m[3], m[4]}, compute_);
  return ops::gate_add(y.sum, m[5] + 1, feed_forward_.forward(y.norm, shares));
}

at::Tensor Block::forward(const at::Tensor& x, const at::Tensor& condition,
                          const AttentionPositions& positions, const TokenShares& shares) const {
  return run(x, condition, shares,
             [&](const at::Tensor& h) { return attention_.forward(h, positions, shares); });
}

at::Tensor Block::step(const at::Tensor& x, const at::Tensor& condition,
                       const AttentionPositions& positions, const CachedFrame& frame,
                       LayerCache& cache, const TokenShares& shares) const {
  return run(x, condition, shares, [&](const at::Tensor& h) {
    return attention_.step(h, positions, frame, cache, shares);
  });
}

}  // namespace praxino
