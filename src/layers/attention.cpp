#include "praxino/layers/attention.h"

#include "praxino/ops/norm.h"

namespace praxino {
namespace {

// Tables for S tokens, x: B T N H K; S is N (inside a frame) or T * N.
at::Tensor as_rows(const at::Tensor& x, int64_t positions) {
  return x.view({-1, positions, x.size(-2), x.size(-1)});
}

}  // namespace

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

at::Tensor Attention::rotated(const at::Tensor& x, const at::Tensor& gain,
                              const ops::RopeTable& table) const {
  return ops::norm_rotate(as_rows(x, table.cos.size(0)), gain, table.cos, table.sin)
      .view(x.sizes());
}

at::Tensor Attention::merge(const at::Tensor& attended, const at::Tensor& like) const {
  return output_(attended.flatten(-2).to(like.scalar_type()));
}

at::Tensor Attention::forward(const at::Tensor& x, const AttentionPositions& positions) const {
  const Heads heads = project(x);
  const at::Tensor q = rotated(heads.q, query_gain_, positions.queries);
  const at::Tensor k = rotated(heads.k, key_gain_, positions.keys);
  const at::Tensor& v = heads.v;
  switch (shape_.kind) {
    case AttentionKind::kSpace: return merge(ops::space_attention(q, k, v), x);
    case AttentionKind::kTime: return merge(ops::time_attention(q, k, v, shape_.window), x);
    case AttentionKind::kFrameCausal: break;
  }
  return merge(ops::frame_causal_attention(q, k, v, shape_.window), x);
}

at::Tensor Attention::step(const at::Tensor& x, const AttentionPositions& positions,
                           const CachedFrame& frame, LayerCache& cache) const {
  if (shape_.kind == AttentionKind::kSpace) return forward(x, positions);
  const Heads heads = project(x);
  const at::Tensor q =
      rotated(heads.q, query_gain_, positions.queries).to(cache.keys.scalar_type());
  const at::Tensor ones = positions.queries.cos.new_ones(positions.queries.cos.sizes());
  const ops::RopeTable unrotated{.cos = ones, .sin = ones.new_zeros(ones.sizes())};
  cache.keys.select(1, frame.slot).copy_(rotated(heads.k, key_gain_, unrotated).squeeze(1));
  cache.values.select(1, frame.slot).copy_(heads.v.squeeze(1));
  const at::Tensor past = cache.keys.narrow(1, 0, frame.used);
  const at::Tensor k =
      ops::rotate(past.flatten(1, 2), positions.keys.cos, positions.keys.sin).view(past.sizes());
  const at::Tensor v = cache.values.narrow(1, 0, frame.used);
  return merge(shape_.kind == AttentionKind::kTime ? ops::time_attention_step(q, k, v)
                                                   : ops::frame_causal_attention_step(q, k, v),
               x);
}

}  // namespace praxino
