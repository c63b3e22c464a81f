// The kernels of attention over frames on a real GPU against the formulas. Without one, all of this
// skips; the same kernels run on the CPU in tests/kernels.
#include "ops/attention_cuda.h"

#include <ATen/core/grad_mode.h>

#include "ops/kernel_registry.h"
#include "ops/on_gpu.h"
#include "praxino/ops/norm.h"

namespace praxino::ops {
namespace {

using kernels::Tier;
using testing::normal;
using Inputs = std::vector<at::Tensor>;

// B T N H K, and G key/value heads.
struct Shape {
  int64_t b, t, n, heads, key_heads, width;
};

at::Tensor rounded(const at::Tensor& tensor) { return gpu(tensor).to(at::kBFloat16); }

class AttentionCuda : public GpuTest {
 protected:
  // Of the kernels that have no norm in their load.
  static std::vector<Tier> tiers() {
    std::vector<Tier> found = {Tier::kPortable};
    if (kernels::runs_on(Tier::kHopper, cuda::tier_of(gpu(normal({1})).device())))
      found.push_back(Tier::kHopper);
    return found;
  }
  static Inputs operands(const Shape& s) {
    return {normal({s.b, s.t, s.n, s.heads, s.width}, 1),
            normal({s.b, s.t, s.n, s.key_heads, s.width}, 2),
            normal({s.b, s.t, s.n, s.key_heads, s.width}, 3)};
  }
  // With tables of so many positions.
  static QkNorm norm_of(const Inputs& in, int64_t positions) {
    const int64_t half = in[0].size(4) / 2;
    const RopeTable table{.cos = gpu(normal({positions, half}, 7)),
                          .sin = gpu(normal({positions, half}, 8))};
    return {.query_gain = gpu(in[3]), .key_gain = gpu(in[4]), .queries = table, .keys = table};
  }
  // Queries, keys and values come in bfloat16, in float to the exact formula.
  static void expect_equal(const testing::Function& kernel, const testing::Function& formula,
                           const Inputs& inputs) {
    const auto in_type = [](const testing::Function& f, const Inputs& in, at::ScalarType type) {
      Inputs moved;
      for (size_t i = 0; i < in.size(); ++i)
        moved.push_back(i < 3 ? gpu(in[i]).to(type) : gpu(in[i]));
      return f(moved).cpu();
    };
    expect_two_fold({.kernel = [&](const Inputs& in) { return in_type(kernel, in, at::kBFloat16); },
                     .formula = [&](const Inputs& in,
                                    at::ScalarType type) { return in_type(formula, in, type); },
                     .inputs = inputs,
                     .rounded = {0, 1, 2},
                     .type = at::kBFloat16,
                     .sums_of_rounded = {3, 4}});
  }
};

TEST_F(AttentionCuda, SpaceAttentionEqualsItsFormula) {
  for (const Shape& shape :
       {Shape{1, 1, 1, 1, 1, 64}, Shape{2, 3, 64, 4, 2, 64}, Shape{1, 5, 131, 3, 1, 64},
        Shape{1, 2, 261, 4, 4, 64}, Shape{2, 2, 96, 4, 1, 128}, Shape{1, 2, 300, 2, 2, 128},
        Shape{1, 1, 1023, 2, 1, 128}}) {
    for (const Tier tier : tiers()) {
      SCOPED_TRACE(kernels::to_string(tier));
      expect_equal(
          [&](const Inputs& in) {
            return cuda::space_attention(in[0], in[1], in[2], nullptr, tier).value();
          },
          [](const Inputs& in) { return formula::space_attention(in[0], in[1], in[2]); },
          operands(shape));
    }
  }
}

TEST_F(AttentionCuda, SpaceAttentionNormalisesAndRotates) {
  for (const Shape& shape : {Shape{2, 3, 64, 4, 2, 64}, Shape{1, 70, 37, 3, 1, 64},
                             Shape{1, 2, 256, 2, 2, 64}, Shape{2, 2, 96, 4, 1, 128}}) {
    Inputs inputs = operands(shape);
    inputs.push_back(normal({shape.width}, 4));
    inputs.push_back(normal({shape.width}, 5));
    expect_equal(
        [](const Inputs& in) {
          const QkNorm norm = norm_of(in, in[0].size(2));
          return space_attention(in[0], in[1], in[2], norm);
        },
        [](const Inputs& in) {
          const QkNorm norm = norm_of(in, in[0].size(2));
          const auto rotated = [&](const at::Tensor& x, const at::Tensor& gain) {
            return formula::norm_rotate(x.flatten(0, 1), gain, norm.queries.cos, norm.queries.sin)
                .view(x.sizes());
          };
          return formula::space_attention(rotated(in[0], norm.query_gain),
                                          rotated(in[1], norm.key_gain), in[2]);
        },
        inputs);
  }
}

TEST_F(AttentionCuda, FrameCausalAttentionEqualsItsFormula) {
  for (const FrameWindow& window : {FrameWindow{}, FrameWindow{2, 0}, FrameWindow{1, 2}}) {
    for (const Shape& shape : {Shape{2, 3, 5, 2, 1, 64}, Shape{1, 7, 64, 4, 2, 64},
                               Shape{1, 4, 131, 2, 2, 128}, Shape{2, 6, 29, 4, 1, 128}}) {
      for (const Tier tier : tiers()) {
        SCOPED_TRACE(kernels::to_string(tier));
        expect_equal(
            [&](const Inputs& in) {
              return cuda::frame_causal_attention(in[0], in[1], in[2], window, tier).value();
            },
            [&](const Inputs& in) {
              return formula::frame_causal_attention(in[0], in[1], in[2], window);
            },
            operands(shape));
      }
    }
  }
}

TEST_F(AttentionCuda, AStepSeesTheWholeCache) {
  for (const int64_t width : {64, 128}) {
    Inputs inputs = operands({2, 5, 67, 4, 2, width});
    inputs[0] = inputs[0].narrow(1, 4, 1);
    for (const Tier tier : tiers()) {
      SCOPED_TRACE(kernels::to_string(tier));
      expect_equal(
          [&](const Inputs& in) {
            return cuda::frame_causal_attention_step(in[0], in[1], in[2], tier).value();
          },
          [](const Inputs& in) {
            return formula::frame_causal_attention_step(in[0], in[1], in[2]);
          },
          inputs);
    }
  }
}

TEST_F(AttentionCuda, AStepOverPartsOfTheCacheSeesAllOfIt) {
  const at::NoGradGuard no_gradient;
  for (const int64_t width : {64, 128}) {
    for (const auto& [batch, frames, parts] : {std::tuple{1, 6, 3}, {2, 8, 4}, {1, 16, 16}}) {
      const Inputs in = operands({batch, frames, 67, 4, 2, width});
      const at::Tensor q = rounded(in[0].narrow(1, 0, 1)), k = rounded(in[1]), v = rounded(in[2]);
      const auto exact = [](const at::Tensor& x) { return x.to(at::kFloat); };
      const at::Tensor want = formula::frame_causal_attention_step(exact(q), exact(k), exact(v));
      const at::Tensor coarse = formula::frame_causal_attention_step(q, k, v);
      for (const Tier tier : tiers()) {
        SCOPED_TRACE(kernels::to_string(tier));
        const auto run = [&] {
          return cuda::frame_causal_attention_parts(q, k, v, tier, parts).value().cpu();
        };
        const at::Tensor got = run();
        EXPECT_TRUE(testing::within_two_fold(got, coarse, want, at::kBFloat16));
        for (int i = testing::repetitions(100); i > 0; --i)
          ASSERT_TRUE(testing::same_bits(run(), got));
      }
    }
  }
  const at::Tensor q = rounded(normal({2, 1, 7, 2, 64}, 1));
  const at::Tensor k = rounded(normal({2, 6, 7, 2, 64}, 2)), part = k.narrow(1, 0, 4);
  EXPECT_FALSE(cuda::frame_causal_attention_parts(q, k, k, Tier::kPortable, 5).has_value());
  EXPECT_FALSE(cuda::frame_causal_attention_parts(q, k, k, Tier::kPortable).has_value());
  EXPECT_FALSE(cuda::frame_causal_attention_parts(q, part, part, Tier::kPortable, 2).has_value());
}

TEST_F(AttentionCuda, LongSequencesAlongTimeEqualTheirFormula) {
  for (const FrameWindow& window : {FrameWindow{}, FrameWindow{40, 3}}) {
    for (const Shape& shape : {Shape{2, 70, 9, 4, 2, 64}, Shape{1, 256, 5, 3, 1, 64},
                               Shape{2, 127, 3, 2, 2, 128}, Shape{1, 199, 7, 4, 1, 128}}) {
      Inputs inputs = operands(shape);
      expect_equal(
          [&](const Inputs& in) {
            return cuda::time_attention_long(in[0], in[1], in[2], nullptr, window).value();
          },
          [&](const Inputs& in) { return formula::time_attention(in[0], in[1], in[2], window); },
          inputs);
      inputs.push_back(normal({shape.width}, 4));
      inputs.push_back(normal({shape.width}, 5));
      expect_equal(
          [&](const Inputs& in) {
            return time_attention(in[0], in[1], in[2], norm_of(in, shape.t * shape.n), window);
          },
          [&](const Inputs& in) {
            const QkNorm norm = norm_of(in, shape.t * shape.n);
            const auto rotated = [&](const at::Tensor& x, const at::Tensor& gain) {
              const at::Tensor rows = x.reshape({x.size(0), -1, x.size(3), x.size(4)});
              return formula::norm_rotate(rows, gain, norm.queries.cos, norm.queries.sin)
                  .view(x.sizes());
            };
            return formula::time_attention(rotated(in[0], norm.query_gain),
                                           rotated(in[1], norm.key_gain), in[2], window);
          },
          inputs);
    }
  }
  const at::Tensor long_q = rounded(normal({1, 257, 1, 1, 64}, 1));
  EXPECT_FALSE(cuda::time_attention_long(long_q, long_q, long_q, nullptr, {}).has_value());
}

TEST_F(AttentionCuda, TakesPartsOfOneProduct) {
  const at::Tensor all = rounded(normal({2, 3, 50, 8, 64}, 1));
  const at::Tensor q = all.narrow(3, 0, 4), k = all.narrow(3, 4, 2), v = all.narrow(3, 6, 2);
  for (const Tier tier : tiers()) {
    SCOPED_TRACE(kernels::to_string(tier));
    EXPECT_TRUE(testing::same_bits(
        cuda::frame_causal_attention(q, k, v, {}, tier).value().cpu(),
        cuda::frame_causal_attention(q.contiguous(), k.contiguous(), v.contiguous(), {}, tier)
            .value()
            .cpu()));
  }
}

TEST_F(AttentionCuda, TakesAnOperandThatRepeatsItself) {
  const at::Tensor q = rounded(normal({1, 4, 50, 4, 64}, 1));
  const at::Tensor k = rounded(normal({1, 4, 50, 1, 64}, 2)).expand_as(q);
  for (const Tier tier : tiers()) {
    SCOPED_TRACE(kernels::to_string(tier));
    EXPECT_TRUE(testing::same_bits(
        cuda::frame_causal_attention(q, k, k, {}, tier).value().cpu(),
        cuda::frame_causal_attention(q, k.contiguous(), k.contiguous(), {}, tier).value().cpu()));
  }
}

TEST_F(AttentionCuda, IsTakenByThePublicFunctions) {
  Inputs in;
  for (const at::Tensor& x : operands({1, 2, 40, 2, 1, 64})) in.push_back(rounded(x));
  ASSERT_TRUE(cuda::checked::space_attention(in[0], in[1], in[2]).has_value())
      << "the check at the first use failed";
  ASSERT_TRUE(cuda::checked::frame_causal_attention(in[0], in[1], in[2], {}).has_value())
      << "the check at the first use failed";
  EXPECT_TRUE(testing::same_bits(
      space_attention(in[0], in[1], in[2]).cpu(),
      cuda::space_attention(in[0], in[1], in[2], nullptr, tiers().back())->cpu()));
}

TEST_F(AttentionCuda, ServesOnlyWhatItKnows) {
  const Inputs in = operands({1, 2, 5, 2, 1, 64});
  EXPECT_FALSE(cuda::space_attention(gpu(in[0]), gpu(in[1]), gpu(in[2])).has_value());
  EXPECT_FALSE(cuda::space_attention(in[0], in[1], in[2]).has_value());
  const Inputs narrow = operands({1, 2, 5, 2, 1, 32});
  EXPECT_FALSE(
      cuda::frame_causal_attention(rounded(narrow[0]), rounded(narrow[1]), rounded(narrow[2]), {})
          .has_value());
  const at::Tensor none = rounded(in[0]).narrow(0, 0, 0);
  EXPECT_FALSE(cuda::space_attention(none, none, none).has_value());
}

}  // namespace
}  // namespace praxino::ops
