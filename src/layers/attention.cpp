#include "praxino/layers/attention.h"

#include <ATen/ops/repeat_interleave.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "praxino/ops/norm.h"
#include "praxino/parallel/exchange.h"

namespace praxino {
namespace {

/// The heads of a tensor rank as rows (0) or columns (1): `each` of them to a key/value head.
LinearOptions of_heads(const AttentionShape& shape, const Communicator& tensor, int64_t dim,
                       int64_t each) {
  LinearOptions options;
  if (tensor.size() > 1) {
    const int64_t unit = each * shape.head_width();
    options.slice = slice_of(dim, shape.kv_heads * unit, unit, tensor.size(), tensor.rank());
  }
  return options;
}

LinearOptions silent(LinearOptions options) {
  options.deviation = 0;
  return options;
}

}  // namespace

Attention::Attention(const ParameterScope& scope, const AttentionShape& shape,
                     const ModelRanks& ranks)
    : shape_(shape),
      ranks_(ranks),
      heads_(shape.heads / shape.kv_heads *
             share_of(shape.kv_heads, ranks.tensor.size(), ranks.tensor.rank()).count),
      kv_heads_(share_of(shape.kv_heads, ranks.tensor.size(), ranks.tensor.rank()).count),
      query_(scope.child("query"), shape.width, shape.width,
             of_heads(shape, ranks.tensor, 0, shape.heads / shape.kv_heads)),
      key_(scope.child("key"), shape.width, shape.kv_heads * shape.head_width(),
           of_heads(shape, ranks.tensor, 0, 1)),
      value_(scope.child("value"), shape.width, shape.kv_heads * shape.head_width(),
             of_heads(shape, ranks.tensor, 0, 1)),
      output_(scope.child("output"), shape.width, shape.width,
              silent(of_heads(shape, ranks.tensor, 1, shape.heads / shape.kv_heads))),
      query_gain_(scope.ones("query_gain", {shape.head_width()}, ParameterRole::kVector)),
      key_gain_(scope.ones("key_gain", {shape.head_width()}, ParameterRole::kVector)) {
  TORCH_CHECK(kv_heads_ > 0, "Attention: ", shape.kv_heads, " key/value heads for ",
              ranks.tensor.size(), " tensor ranks");
}

Attention::Heads Attention::project(const at::Tensor& x) const {
  const int64_t b = x.size(0), t = x.size(1), n = x.size(2), k = shape_.head_width();
  return {.q = query_(x).view({b, t, n, heads_, k}),
          .k = key_(x).view({b, t, n, kv_heads_, k}),
          .v = value_(x).view({b, t, n, kv_heads_, k})};
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

// Own frames of all heads -> all frames of some heads, and back.
at::Tensor Attention::over_frames(Heads heads, const AttentionPositions& positions,
                                  const std::vector<int64_t>& frames) const {
  constexpr int64_t kFrames = 1, kHeads = 3;
  const Communicator& context = ranks_.context;
  const int64_t each = heads_ / kv_heads_;
  const bool whole_groups = kv_heads_ >= context.size();
  if (!whole_groups) {  // a key/value head that several ranks need
    heads.k = heads.k.repeat_interleave(each, kHeads);
    heads.v = heads.v.repeat_interleave(each, kHeads);
  }
  const std::vector<int64_t> kv = share_counts(whole_groups ? kv_heads_ : heads_, context.size());
  std::vector<int64_t> queries = kv;
  if (whole_groups)
    std::ranges::transform(kv, queries.begin(), [&](int64_t n) { return n * each; });
  const auto all_frames = [&](const at::Tensor& x, const std::vector<int64_t>& counts) {
    return switch_pieces(x, kFrames, frames, kHeads, counts, context);
  };
  const at::Tensor attended =
      ops::frame_causal_attention(all_frames(heads.q, queries), all_frames(heads.k, kv),
                                  all_frames(heads.v, kv), norm(positions), shape_.window);
  return switch_pieces(attended, kHeads, queries, kFrames, frames, context);
}

at::Tensor Attention::forward(const at::Tensor& x, const AttentionPositions& positions,
                              const std::vector<int64_t>& frames) const {
  const Heads heads = project(x);
  const auto& [q, k, v] = heads;
  switch (shape_.kind) {
    case AttentionKind::kSpace: return merge(ops::space_attention(q, k, v, norm(positions)), x);
    case AttentionKind::kTime:
      return merge(ops::time_attention(q, k, v, norm(positions), shape_.window), x);
    case AttentionKind::kFrameCausal: break;
  }
  if (!frames.empty()) return merge(over_frames(heads, positions, frames), x);
  return merge(ops::frame_causal_attention(q, k, v, norm(positions), shape_.window), x);
}

at::Tensor Attention::step(const at::Tensor& x, const AttentionPositions& positions,
                           const CachedFrame& frame, LayerCache& cache) const {
  if (shape_.kind == AttentionKind::kSpace) return forward(x, positions);
  const Heads heads = project(x);
  const at::Tensor ones = positions.queries.cos.new_ones(positions.queries.cos.sizes());
  const at::Tensor unrotated =
      ops::norm_rotate(heads.k.squeeze(1), key_gain_, ones, ones.new_zeros(ones.sizes()));
  const auto remember = [&frame](const at::Tensor& slots, const at::Tensor& now) {
    at::Tensor(slots).index_copy_(1, frame.slot, now.to(slots.scalar_type()));
  };
  remember(cache.keys, unrotated.unsqueeze(1));
  remember(cache.values, heads.v);
  const at::Tensor k = cache.keys.narrow(1, 0, frame.used);
  const at::Tensor v = cache.values.narrow(1, 0, frame.used);
  return merge(shape_.kind == AttentionKind::kTime
                   ? ops::time_attention_step(heads.q, k, v, norm(positions))
                   : ops::frame_causal_attention_step(heads.q, k, v, norm(positions)),
               x);
}

}  // namespace praxino
