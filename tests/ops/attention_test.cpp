#include "praxino/ops/attention.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/softmax.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "praxino/ops/norm.h"
#include "support/tensors.h"

namespace praxino::ops {
namespace {

using testing::normal;
using testing::relative_error;

constexpr double kTolerance = 2e-5;

// The definition, one query at a time. visible(tq, nq, tk, nk): whether the query sees the key.
template <class Visible>
at::Tensor by_definition(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         Visible visible) {
  const at::Tensor result = at::empty_like(q);
  const int64_t t = q.size(1), n = q.size(2), heads = q.size(3), group = heads / k.size(3);
  for (int64_t b = 0; b < q.size(0); ++b) {
    for (int64_t i = 0; i < t * n * heads; ++i) {
      const int64_t h = i % heads, nq = i / heads % n, tq = i / heads / n;
      const at::Tensor query = q[b][tq][nq][h];
      std::vector<at::Tensor> values;
      std::vector<double> weights;
      double total = 0;
      for (int64_t tk = 0; tk < t; ++tk) {
        for (int64_t nk = 0; nk < n; ++nk) {
          if (!visible(tq, nq, tk, nk)) continue;
          const double score = (query * k[b][tk][nk][h / group]).sum().item<double>();
          weights.push_back(std::exp(score / std::sqrt(static_cast<double>(q.size(4)))));
          total += weights.back();
          values.push_back(v[b][tk][nk][h / group]);
        }
      }
      at::Tensor sum = values[0] * (weights[0] / total);
      for (size_t j = 1; j < values.size(); ++j) sum = sum + values[j] * (weights[j] / total);
      result[b][tq][nq][h].copy_(sum);
    }
  }
  return result;
}

struct Inputs {
  at::Tensor q, k, v;
};

Inputs inputs(int64_t frames, int64_t heads, int64_t groups) {
  return {normal({2, frames, 3, heads, 8}, 1), normal({2, frames, 3, groups, 8}, 2),
          normal({2, frames, 3, groups, 8}, 3)};
}

class Attention : public ::testing::TestWithParam<FrameWindow> {};

TEST_P(Attention, AlongTimeEqualsItsDefinition) {
  const Inputs in = inputs(6, 4, 2);
  const at::Tensor want =
      by_definition(in.q, in.k, in.v, [&](int64_t tq, int64_t nq, int64_t tk, int64_t nk) {
        return nq == nk && GetParam().sees(tq, tk);
      });
  EXPECT_LT(relative_error(time_attention(in.q, in.k, in.v, GetParam()), want), kTolerance);
}

TEST_P(Attention, OverEarlierFramesEqualsItsDefinition) {
  const Inputs in = inputs(5, 2, 1);
  const at::Tensor want = by_definition(
      in.q, in.k, in.v,
      [&](int64_t tq, int64_t, int64_t tk, int64_t) { return GetParam().sees(tq, tk); });
  EXPECT_LT(relative_error(frame_causal_attention(in.q, in.k, in.v, GetParam()), want), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Windows, Attention,
                         ::testing::Values(FrameWindow{}, FrameWindow{.window = 1},
                                           FrameWindow{.window = 2},
                                           FrameWindow{.window = 2, .sinks = 1},
                                           FrameWindow{.window = 3, .sinks = 2},
                                           FrameWindow{.window = 9}));

TEST(Attention, InsideAFrameEqualsItsDefinition) {
  const Inputs in = inputs(3, 4, 4);
  const at::Tensor want = by_definition(
      in.q, in.k, in.v, [](int64_t tq, int64_t, int64_t tk, int64_t) { return tq == tk; });
  EXPECT_LT(relative_error(space_attention(in.q, in.k, in.v), want), kTolerance);
}

// By blocks and by operations that have gradients of any order.
TEST(Attention, HasTheGradientOfItsGradient) {
  const FrameWindow window{.window = 2};
  const auto [q, k, v] = inputs(4, 2, 1);
  const at::Tensor weight = normal(q.sizes(), 7), of_gradient = normal(k.sizes(), 8);
  // The gradient over the queries of a sum of gradients over the keys.
  const auto second = [&](const auto& attention) {
    const at::Tensor queries = q.clone().requires_grad_(), keys = k.clone().requires_grad_();
    const at::Tensor out = attention(queries, keys, v);
    const auto first = torch::autograd::grad({out}, {keys}, {weight}, true, true);
    return std::pair{first[0], torch::autograd::grad({first[0]}, {queries}, {of_gradient})[0]};
  };
  const auto [first, got] =
      second([&](const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
        return frame_causal_attention(a, b, c, window);
      });
  const auto [want_first, want] =
      second([&](const at::Tensor& a, const at::Tensor& b, const at::Tensor& c) {
        const auto heads = [](const at::Tensor& x) {  // B T N H K -> B H (T N) K
          return x.expand({-1, -1, -1, 2, -1}).flatten(1, 2).transpose(1, 2);
        };
        const at::Tensor frame = at::arange(12).floor_divide(3);
        const at::Tensor back = frame.unsqueeze(1) - frame.unsqueeze(0);
        const at::Tensor hidden = back.lt(0).logical_or(back.ge(window.window));
        const at::Tensor scores = heads(a).matmul(heads(b).transpose(2, 3)).div(std::sqrt(8.0));
        return scores.masked_fill(hidden, -1e30)
            .softmax(-1)
            .matmul(heads(c))
            .transpose(1, 2)
            .reshape(a.sizes());
      });
  EXPECT_LT(relative_error(first, want_first), kTolerance);
  EXPECT_LT(relative_error(got, want), kTolerance);
}

TEST(Attention, StepsEqualTheLastFrame) {
  const Inputs in = inputs(4, 4, 2);
  const at::Tensor last = in.q.narrow(1, 3, 1);
  EXPECT_LT(relative_error(time_attention_step(last, in.k, in.v),
                           time_attention(in.q, in.k, in.v, {}).narrow(1, 3, 1)),
            kTolerance);
  EXPECT_LT(relative_error(frame_causal_attention_step(last, in.k, in.v),
                           frame_causal_attention(in.q, in.k, in.v, {}).narrow(1, 3, 1)),
            kTolerance);
}

RopeTable table(int64_t positions, uint64_t seed) {
  const at::Tensor angles = normal({positions, 4}, seed);
  return {angles.cos(), angles.sin()};
}

// For `query` and `key` positions of inputs().
QkNorm some_norm(int64_t query, int64_t key) {
  return {normal({8}, 4), normal({8}, 5), table(query, 6), table(key, 7)};
}

at::Tensor normed(const at::Tensor& x, const at::Tensor& gain, const RopeTable& by) {
  return formula::norm_rotate(x.reshape({-1, by.cos.size(0), x.size(3), 8}), gain, by.cos, by.sin)
      .view(x.sizes());
}

TEST(Attention, NormalizesAndRotatesQueriesAndKeysFirst) {
  const Inputs in = inputs(4, 4, 2);
  const FrameWindow window{.window = 2, .sinks = 1};
  const QkNorm video = some_norm(12, 12), space = some_norm(3, 3);
  const at::Tensor q = normed(in.q, video.query_gain, video.queries),
                   k = normed(in.k, video.key_gain, video.keys);
  EXPECT_LT(relative_error(time_attention(in.q, in.k, in.v, video, window),
                           time_attention(q, k, in.v, window)),
            kTolerance);
  EXPECT_LT(relative_error(frame_causal_attention(in.q, in.k, in.v, video, window),
                           frame_causal_attention(q, k, in.v, window)),
            kTolerance);
  EXPECT_LT(relative_error(space_attention(in.q, in.k, in.v, space),
                           space_attention(normed(in.q, space.query_gain, space.queries),
                                           normed(in.k, space.key_gain, space.keys), in.v)),
            kTolerance);
}

TEST(Attention, StepsRotateTheKeysOfTheCacheAlone) {
  const Inputs in = inputs(4, 4, 2);
  const QkNorm norm = some_norm(3, 12);
  const at::Tensor last = in.q.narrow(1, 3, 1), q = normed(last, norm.query_gain, norm.queries);
  const at::Tensor k = rotate(in.k.flatten(1, 2), norm.keys.cos, norm.keys.sin).view(in.k.sizes());
  EXPECT_LT(
      relative_error(time_attention_step(last, in.k, in.v, norm), time_attention_step(q, k, in.v)),
      kTolerance);
  EXPECT_LT(relative_error(frame_causal_attention_step(last, in.k, in.v, norm),
                           frame_causal_attention_step(q, k, in.v)),
            kTolerance);
}

}  // namespace
}  // namespace praxino::ops
