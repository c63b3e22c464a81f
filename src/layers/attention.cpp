#include "praxino/layers/attention.h"

#include "praxino/ops/norm.h"

namespace praxino {
Attention::Attention(const ParameterScope& scope, const AttentionShape& shape)
    : shape_(shape),
      query_(scope.child("query"), shape.width, shape.width),
      key_(scope.child("key"), shape.width, shape.kv_heads * shape.head_width()),
      value_(scope.child("value"), shape.width, shape.kv_heads * shape.head_width()),
      output_(scope.child("output"), shape.width, shape.width, {.deviation = 0}),
      query_gain_(scope.ones("query_gain", {shape.head_width()}, ParameterRole::kVector)),
      key_gain_(scope.ones("key_gain", {shape.head_width()}, ParameterRole::kVector)) {}

Attention::Heads Attention::project(const at::Tensor& x) const {
  const int64_t b = x.size(0), t = x.size(1), n = x.size(2), k = shape_.head_width();
  return {.q = query_(x).view({b, t, n, shape_.heads, k}),
          .k = key_(x).view({b, t, n, shape_.kv_heads, k}),
          .v = value_(x).view({b, t, n, shape_.kv_heads, k})};
}

ops::QkNorm Attention::norm(const AttentionPositions& positions) const {
  return {.query_gain = query_gain_,
          .key_gain = key_gain_,
          .queries = positions.queries,
          .keys = positions.keys};
}

at::Tensor Attention::merge(const at::Tensor& attended, const at::Tensor& like) const {
  return output_(attended.flatten(-2).to(like.scalar_type()));
}

at::Tensor Attention::forward(const at::Tensor& x, const AttentionPositions& positions) const {
  const auto [q, k, v] = project(x);
  switch (shape_.kind) {
    case AttentionKind::kSpace: return merge(ops::space_attention(q, k, v, norm(positions)), x);
    case AttentionKind::kTime:
      return merge(ops::time_attention(q, k, v, norm(positions), shape_.window), x);
    case AttentionKind::kFrameCausal: break;
  }
  return merge(ops::frame_causal_attention(q, k, v, norm(positions), shape_.window), x);
}

at::Tensor Attention::step(const at::Tensor& x, const AttentionPositions& positions,
                           const CachedFrame& frame, LayerCache& cache) const {
  if (shape_.kind == AttentionKind::kSpace) return forward(x, positions);
  const Heads heads = project(x);
  const at::Tensor ones = positions.queries.cos.new_ones(positions.queries.cos.sizes());
  const at::Tensor unrotated =
      ops::norm_rotate(heads.k.squeeze(1), key_gain_, ones, ones.new_zeros(ones.sizes()));
  cache.keys.select(1, frame.slot).copy_(unrotated);
  cache.values.select(1, frame.slot).copy_(heads.v.squeeze(1));
  const at::Tensor k = cache.keys.narrow(1, 0, frame.used);
  const at::Tensor v = cache.values.narrow(1, 0, frame.used);
  return merge(shape_.kind == AttentionKind::kTime
                   ? ops::time_attention_step(heads.q, k, v, norm(positions))
                   : ops::frame_causal_attention_step(heads.q, k, v, norm(positions)),
               x);
}

}  // namespace praxino
