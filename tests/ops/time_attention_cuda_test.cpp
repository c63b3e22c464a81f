// Attention along time on a real GPU against its formula.
#include "ops/attention_cuda.h"

#include "ops/on_gpu.h"
#include "praxino/ops/norm.h"

namespace praxino::ops {
namespace {

using testing::normal;

struct Shape {
  int64_t b, t, n, heads, kv_heads, width;
};

class TimeAttentionCuda : public OnGpu {
 protected:
  static at::Tensor element(const at::Tensor& x) { return gpu(x).to(GetParam()); }
};

QkNorm norm_of(const at::Tensor& query_gain, const at::Tensor& key_gain, const Shape& s) {
  const auto table = [&](uint64_t seed) {
    const at::Tensor angles = normal({s.t * s.n, s.width / 2}, seed);
    return RopeTable{gpu(angles.cos()), gpu(angles.sin())};
  };
  return {gpu(query_gain), gpu(key_gain), table(11), table(12)};
}

at::Tensor normed(const at::Tensor& x, const at::Tensor& gain, const RopeTable& table) {
  const at::Tensor rows = x.reshape({x.size(0), table.cos.size(0), x.size(3), x.size(4)});
  return formula::norm_rotate(rows, gain, table.cos, table.sin).view(x.sizes());
}

TEST_P(TimeAttentionCuda, EqualsItsFormula) {
  for (const Shape& s :
       {Shape{1, 1, 1, 1, 1, 64}, Shape{2, 16, 37, 4, 4, 64}, Shape{1, 17, 5, 8, 2, 128},
        Shape{2, 64, 9, 6, 1, 64}, Shape{1, 61, 7, 3, 3, 128}, Shape{3, 5, 700, 2, 2, 128}}) {
    const FrameWindow window{.window = s.t > 16 ? 9 : 0, .sinks = s.t > 16 ? 2 : 0};
    expect_two_fold(
        {.kernel =
             [&](const Inputs& in) {
               return cuda::time_attention(element(in[0]), element(in[1]), element(in[2]),
                                           norm_of(in[3], in[4], s), window)
                   .value()
                   .cpu();
             },
         .formula =
             [&](const Inputs& in, at::ScalarType type) {
               const QkNorm norm = norm_of(in[3], in[4], s);
               const auto as = [&](const at::Tensor& x) { return gpu(x).to(type); };
               return formula::time_attention(normed(as(in[0]), norm.query_gain, norm.queries),
                                              normed(as(in[1]), norm.key_gain, norm.keys),
                                              as(in[2]), window)
                   .cpu();
             },
         .inputs = {normal({s.b, s.t, s.n, s.heads, s.width}, 1),
                    normal({s.b, s.t, s.n, s.kv_heads, s.width}, 2),
                    normal({s.b, s.t, s.n, s.kv_heads, s.width}, 3), normal({s.width}, 4),
                    normal({s.width}, 5)},
         .rounded = {0, 1, 2},
         .type = GetParam(),
         .sums_of_rounded = {3, 4}});
  }
}

TEST_P(TimeAttentionCuda, EqualsItsFormulaWithoutNorm) {
  for (const Shape& s : {Shape{1, 1, 1, 1, 1, 64}, Shape{2, 19, 37, 4, 2, 64},
                         Shape{1, 64, 9, 3, 3, 64}, Shape{3, 31, 5, 2, 1, 128}}) {
    expect_two_fold(
        {.kernel =
             [&](const Inputs& in) {
               return cuda::time_attention(element(in[0]), element(in[1]), element(in[2]),
                                           FrameWindow{})
                   .value()
                   .cpu();
             },
         .formula =
             [&](const Inputs& in, at::ScalarType type) {
               const auto as = [&](const at::Tensor& x) { return gpu(x).to(type); };
               return formula::time_attention(as(in[0]), as(in[1]), as(in[2]), FrameWindow{}).cpu();
             },
         .inputs = {normal({s.b, s.t, s.n, s.heads, s.width}, 1),
                    normal({s.b, s.t, s.n, s.kv_heads, s.width}, 2),
                    normal({s.b, s.t, s.n, s.kv_heads, s.width}, 3)},
         .rounded = {0, 1, 2},
         .type = GetParam()});
  }
}

TEST_P(TimeAttentionCuda, TakesPartsOfOneProjectionAndIsTakenByThePublicFunction) {
  const Shape s{2, 9, 5, 4, 2, 64};
  const at::Tensor all = gpu(normal({s.b, s.t, s.n, 8 * s.width}, 1)).to(GetParam());
  const auto part = [&](int64_t first, int64_t heads) {
    return all.narrow(3, first * s.width, heads * s.width).unflatten(3, {heads, s.width});
  };
  const at::Tensor q = part(0, 4), k = part(4, 2), v = part(6, 2);
  const QkNorm norm = norm_of(normal({s.width}, 2), normal({s.width}, 3), s);
  const auto whole = cuda::time_attention(q.contiguous(), k.contiguous(), v.contiguous(), norm, {});
  EXPECT_TRUE(testing::same_bits(cuda::time_attention(q, k, v, norm, {})->cpu(), whole->cpu()));
  ASSERT_TRUE(cuda::checked::time_attention(q, k, v, norm, {}).has_value());
  EXPECT_TRUE(testing::same_bits(time_attention(q, k, v, norm, {}).cpu(), whole->cpu()));
}

TEST_P(TimeAttentionCuda, StepsOverTheUsedSlotsOfACache) {
  const Shape s{2, 5, 7, 6, 2, 64};
  const QkNorm table = norm_of(normal({s.width}, 2), normal({s.width}, 3), s);
  const QkNorm norm{table.query_gain,
                    table.key_gain,
                    {table.queries.cos.narrow(0, 0, s.n), table.queries.sin.narrow(0, 0, s.n)},
                    table.keys};
  const at::Tensor q = gpu(normal({s.b, 1, s.n, s.heads, s.width}, 4)).to(GetParam());
  const auto cache = [&](uint64_t seed) {
    return gpu(normal({s.b, 8, s.n, s.kv_heads, s.width}, seed)).narrow(1, 0, s.t);
  };
  const at::Tensor k = cache(5), v = cache(6);
  const at::Tensor ready = normed(q.to(at::kFloat), norm.query_gain, norm.queries);
  const at::Tensor turned = rotate(k.flatten(1, 2), norm.keys.cos, norm.keys.sin).view(k.sizes());
  // A query of the type, and a cache in float: the result's rounding is all.
  const at::Tensor want = time_attention_step(ready, turned, v);
  EXPECT_TRUE(testing::within_two_fold(cuda::time_attention_step(q, k, v, norm).value(),
                                       want.to(GetParam()), want, GetParam()));
}

TEST_P(TimeAttentionCuda, ServesOnlyWhatItKnows) {
  const Shape s{1, 3, 2, 2, 1, 64};
  const QkNorm norm = norm_of(normal({s.width}, 2), normal({s.width}, 3), s);
  const auto random = [&](int64_t t, int64_t heads, int64_t width) {
    return gpu(normal({s.b, t, s.n, heads, width}, 1)).to(GetParam());
  };
  const at::Tensor q = random(3, 2, 64), k = random(3, 1, 64);
  EXPECT_TRUE(cuda::time_attention(q, k, k, norm, {}).has_value());
  EXPECT_TRUE(cuda::time_attention(q, k, k, FrameWindow{}).has_value());
  EXPECT_TRUE(cuda::checked::time_attention(q, k, k, FrameWindow{}).has_value());
  EXPECT_FALSE(cuda::time_attention(q.to(at::kHalf), k, k, norm, {}).has_value());
  EXPECT_FALSE(cuda::time_attention(q, k, k.cpu(), norm, {}).has_value());
  EXPECT_FALSE(cuda::time_attention(q, random(2, 1, 64), k, norm, {}).has_value());
  EXPECT_FALSE(
      cuda::time_attention(random(65, 2, 64), random(65, 1, 64), random(65, 1, 64), norm, {})
          .has_value());
  QkNorm other = norm;
  other.keys.cos = norm.keys.cos.narrow(0, 0, 5);
  EXPECT_FALSE(cuda::time_attention(q, k, k, other, {}).has_value());
}

INSTANTIATE_TEST_SUITE_P(Types, TimeAttentionCuda, ::testing::Values(at::kBFloat16, at::kFloat));

}  // namespace
}  // namespace praxino::ops
