// Attention by kernels that run on the CPU, of operands that lie oddly in memory, against its
// formula.
#include "ops/attention_cuda.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/csrc/autograd/autograd.h>

#include "ops/on_cpu.h"
#include "praxino/ops/norm.h"
#include "support/two_fold.h"

namespace praxino::ops {
namespace {

using testing::gradients;
using testing::normal;
using testing::relative_error;
using testing::within_two_fold;

class AttentionOnCpu : public OnCpu {
 protected:
  using Inputs = std::vector<at::Tensor>;
};

// B N T H K as B T N H K: contiguous() copies nothing, and the stride of the one place is that of
// all frames.
TEST_F(AttentionOnCpu, AlongTimeTakesOnePlaceWhoseStrideMeansNothing) {
  const auto turned = [](const at::Tensor& x) { return x.transpose(1, 2); };
  const auto in_type = [&](const Inputs& in, at::ScalarType type, auto op) {
    const auto operand = [&](const at::Tensor& x) { return turned(x.to(type)); };
    return op(operand(in[0]), operand(in[1]), operand(in[2]));
  };
  for (const at::ScalarType given : {at::kFloat, at::kBFloat16}) {
    EXPECT_TRUE(testing::keeps_two_fold(
        {.kernel =
             [&](const Inputs& in) {
               return in_type(in, given, [](const auto&... x) {
                 return cuda::time_attention(x..., FrameWindow{}).value();
               });
             },
         .formula =
             [&](const Inputs& in, at::ScalarType type) {
               return in_type(in, type, [](const auto&... x) {
                 return formula::time_attention(x..., FrameWindow{});
               });
             },
         .inputs = {normal({2, 1, 5, 4, 64}, 1), normal({2, 1, 5, 2, 64}, 2),
                    normal({2, 1, 5, 2, 64}, 3)},
         .rounded = {0, 1, 2},
         .type = given}));
  }
}

// B T N H K queries, keys and values, each beginning at an odd address, and a norm that does.
struct Unaligned {
  at::Tensor q, k, v;
  QkNorm norm;
};
Unaligned unaligned_operands(at::ScalarType type, int64_t frames, int64_t positions) {
  constexpr int64_t kPlaces = 3, kWidth = 64;
  const auto rows = [&](int64_t heads, uint64_t seed) {
    return unaligned(normal({2, frames, kPlaces, heads, kWidth}, seed).to(type));
  };
  const auto table = [&](uint64_t seed) {
    const at::Tensor angles = normal({positions, kWidth / 2}, seed);
    return RopeTable{unaligned(angles.cos()), unaligned(angles.sin())};
  };
  return {rows(4, 1),
          rows(2, 2),
          rows(2, 3),
          {unaligned(normal({kWidth}, 4)), unaligned(normal({kWidth}, 5)), table(6), table(7)}};
}

at::Tensor ready(const at::Tensor& x, const at::Tensor& gain, const RopeTable& table) {
  const at::Tensor rows = x.reshape({-1, table.cos.size(0), x.size(3), x.size(4)});
  return formula::norm_rotate(rows, gain, table.cos, table.sin).view(x.sizes());
}

// The operands as leaves in float: q, k, v and the gains.
Unaligned exact(const Unaligned& of) {
  const auto leaf = [](const at::Tensor& x) { return x.detach().to(at::kFloat).clone(); };
  return {leaf(of.q),
          leaf(of.k),
          leaf(of.v),
          {leaf(of.norm.query_gain), leaf(of.norm.key_gain), of.norm.queries, of.norm.keys}};
}

using Attention = std::function<at::Tensor(const Unaligned&)>;

// Result and gradients of the leaves, where the gradient of the result is unaligned, too.
std::vector<at::Tensor> outcome(const Attention& run, const Unaligned& of, bool with_norm) {
  std::vector<at::Tensor> leaves = {of.q, of.k, of.v};
  if (with_norm) leaves.insert(leaves.end(), {of.norm.query_gain, of.norm.key_gain});
  for (const at::Tensor& leaf : leaves) leaf.requires_grad_();
  const at::Tensor out = run(of);
  const at::Tensor upstream = normal(out.sizes(), 9).to(at::kBFloat16);
  const at::Tensor weight = unaligned(upstream.to(out.scalar_type()));
  auto found = torch::autograd::grad({out}, leaves, {weight});
  found.push_back(out.detach());
  for (const at::Tensor& leaf : leaves) leaf.requires_grad_(false);
  return found;
}

void expect_right(const Attention& kernel, const Attention& formula, const Unaligned& of,
                  bool with_norm = true) {
  const auto got = outcome(kernel, of, with_norm), coarse = outcome(formula, of, with_norm),
             want = outcome(formula, exact(of), with_norm);
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_TRUE(within_two_fold(got[i], coarse[i], want[i], of.q.scalar_type())) << i;
}

TEST_F(AttentionOnCpu, AlongTimeTakesOperandsAtOddAddresses) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    expect_right(
        [](const Unaligned& in) {
          return cuda::time_attention(in.q, in.k, in.v, in.norm, {}).value();
        },
        [](const Unaligned& in) {
          return formula::time_attention(ready(in.q, in.norm.query_gain, in.norm.queries),
                                         ready(in.k, in.norm.key_gain, in.norm.keys), in.v, {});
        },
        unaligned_operands(type, 5, 15));
  }
}

TEST_F(AttentionOnCpu, InsideAFrameTakesOperandsAtOddAddresses) {
  expect_right(
      [](const Unaligned& in) { return cuda::space_attention(in.q, in.k, in.v, &in.norm).value(); },
      [](const Unaligned& in) {
        return formula::space_attention(ready(in.q, in.norm.query_gain, in.norm.queries),
                                        ready(in.k, in.norm.key_gain, in.norm.keys), in.v);
      },
      unaligned_operands(at::kBFloat16, 2, 3));
}

TEST_F(AttentionOnCpu, OverFramesTakesOperandsAtOddAddresses) {
  const FrameWindow window{.window = 2, .sinks = 1};
  for (const kernels::Tier tier : {kernels::Tier::kPortable, kernels::Tier::kHopper}) {
    expect_right(
        [&](const Unaligned& in) {
          return cuda::frame_causal_attention(in.q, in.k, in.v, window, tier).value();
        },
        [&](const Unaligned& in) {
          return formula::frame_causal_attention(in.q, in.k, in.v, window);
        },
        unaligned_operands(at::kBFloat16, 5, 15), /*with_norm=*/false);
  }
}

TEST_F(AttentionOnCpu, AStepTakesAQueryAndTablesAtOddAddresses) {
  const auto [q, k, v, norm] = unaligned_operands(at::kFloat, 5, 15);
  const QkNorm of_step{
      norm.query_gain,
      norm.key_gain,
      {unaligned(norm.queries.cos.narrow(0, 0, 3)), unaligned(norm.queries.sin.narrow(0, 0, 3))},
      norm.keys};
  const at::Tensor frame = unaligned(q.narrow(1, 2, 1)), keys = k.clone(), values = v.clone();
  const auto got = cuda::time_attention_step(frame, keys, values, of_step);
  ASSERT_TRUE(got.has_value());
  const at::Tensor turned =
      formula::rotate(keys.flatten(1, 2), norm.keys.cos, norm.keys.sin).view(keys.sizes());
  const at::Tensor want =
      formula::time_attention_step(ready(frame, norm.query_gain, of_step.queries), turned, values);
  EXPECT_TRUE(within_two_fold(*got, want, want, at::kFloat));
}

// What a GPU takes where no kernel serves: 65,536 tokens would be a mask of 4 GiB.
TEST_F(AttentionOnCpu, TheFormulaOfManyTokensHasNoMaskOfAllPairs) {
  constexpr int64_t kFrames = 6, kTokens = 684, kAll = kFrames * kTokens, kPairs = kAll * kAll;
  for (const FrameWindow window : {FrameWindow{}, {.window = 2, .sinks = 3}}) {
    const auto formula = [&](const Inputs& in) {
      return formula::frame_causal_attention(in[0], in[1], in[2], window);
    };
    const auto by_mask = [&](const Inputs& in) {
      const at::Tensor mask = at::empty({kFrames, 1, kFrames, 1}, at::kBool);
      for (int64_t i = 0; i < kFrames; ++i)
        for (int64_t j = 0; j < kFrames; ++j) mask[i][0][j].fill_(window.sees(i, j));
      const auto heads = [](const at::Tensor& x) { return x.flatten(1, 2).transpose(1, 2); };
      const at::Tensor all = mask.expand({-1, kTokens, -1, kTokens}).reshape({kAll, kAll});
      return at::scaled_dot_product_attention(heads(in[0]), heads(in[1]), heads(in[2]), all, 0,
                                              false, std::nullopt, /*enable_gqa=*/true)
          .transpose(1, 2)
          .reshape(in[0].sizes());
    };
    const Inputs inputs = {normal({1, kFrames, kTokens, 2, 8}, 1),
                           normal({1, kFrames, kTokens, 1, 8}, 2),
                           normal({1, kFrames, kTokens, 1, 8}, 3)};
    const at::Tensor weight = normal(inputs[0].sizes(), 4), want = by_mask(inputs);
    const auto want_gradients = gradients(by_mask, inputs, weight);
    memory_.largest();
    EXPECT_LT(relative_error(formula(inputs), want), 2e-5);
    const auto got_gradients = gradients(formula, inputs, weight);
    EXPECT_LT(memory_.largest(), kPairs);
    for (size_t i = 0; i < inputs.size(); ++i)
      EXPECT_LT(relative_error(got_gradients[i], want_gradients[i]), 2e-5) << i;
  }
}

// The mask of queries says nothing about other frames of keys: that is the formula's error.
TEST_F(AttentionOnCpu, OverFramesTakesNoKeysOfOtherFrames) {
  const auto rows = [](int64_t frames, int64_t tokens) {
    return normal({1, frames, tokens, 2, 64}).to(at::kBFloat16);
  };
  const at::Tensor q = rows(3, 4);
  EXPECT_TRUE(cuda::frame_causal_attention(q, rows(3, 4), rows(3, 4), {}).has_value());
  for (const at::Tensor& k : {rows(4, 3), rows(4, 4), rows(2, 4), rows(3, 5), rows(6, 2)}) {
    for (const kernels::Tier tier : {kernels::Tier::kPortable, kernels::Tier::kHopper})
      EXPECT_FALSE(cuda::frame_causal_attention(q, k, k, {}, tier).has_value()) << k.sizes();
    EXPECT_THROW(frame_causal_attention(q, k, k, {}), c10::Error) << k.sizes();
  }
}

}  // namespace
}  // namespace praxino::ops
