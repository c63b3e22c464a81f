#include "praxino/layers/attention.h"

#include <ATen/ops/repeat_interleave.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "praxino/layers/token_products.h"
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

Attention::Heads Attention::project(const at::Tensor& x, const TokenShares& shares) const {
  const std::vector<at::Tensor> qkv = gathered_products(
      x, {query_.matrix(), key_.matrix(), value_.matrix()}, shares, ranks_.tensor);
  const auto heads = [&](const at::Tensor& y, int64_t count) {
    return y.view({y.size(0), y.size(1), y.size(2), count, shape_.head_width()});
  };
  return {.q = heads(qkv[0], heads_), .k = heads(qkv[1], kv_heads_), .v = heads(qkv[2], kv_heads_)};
}

ops::QkNorm Attention::norm(const AttentionPositions& positions) const {
  return {.query_gain = query_gain_,
          .key_gain = key_gain_,
          .queries = positions.queries,
          .keys = positions.keys};
}

at::Tensor Attention::merge(const at::Tensor& attended, const at::Tensor& like,
                            const TokenShares& shares) const {
  return summed_product(attended.flatten(-2).to(like.scalar_type()), output_.matrix(), shares,
                        ranks_.tensor);
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
                              const TokenShares& shares) const {
  const Heads heads = project(x, shares);
  const auto attend = [&]() -> at::Tensor {
    const auto& [q, k, v] = heads;
    switch (shape_.kind) {
      case AttentionKind::kSpace: return ops::space_attention(q, k, v, norm(positions));
      case AttentionKind::kTime:
        return ops::time_attention(q, k, v, norm(positions), shape_.window);
      case AttentionKind::kFrameCausal: break;
    }
    if (!shares.frames.empty()) return over_frames(heads, positions, shares.frames);
    return ops::frame_causal_attention(q, k, v, norm(positions), shape_.window);
  };
  return merge(attend(), x, shares);
}

at::Tensor Attention::step(const at::Tensor& x, const AttentionPositions& positions,
                           const CachedFrame& frame, LayerCache& cache,
                           const TokenShares& shares) const {
  if (shape_.kind == AttentionKind::kSpace) return forward(x, positions, shares);
  const Heads heads = project(x, shares);
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
               x, shares);
}

}  // namespace praxino
