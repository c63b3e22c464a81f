#include "praxino/ops/rope.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>

#include "support/tensors.h"

namespace praxino::ops {
namespace {

using testing::normal;
using testing::relative_error;

TEST(Rope,
     SplitsHeadsAsCosmosDoes) {  // dimensions 24/20/20, 32/32/32, 44/42/42 are twice these pairs
  EXPECT_EQ(rope_split_video(64), (RopeSplit{12, 10, 10}));
  EXPECT_EQ(rope_split_video(96), (RopeSplit{16, 16, 16}));
  EXPECT_EQ(rope_split_video(128), (RopeSplit{22, 21, 21}));
  EXPECT_EQ(rope_split_space(36), (RopeSplit{0, 9, 9}));
  EXPECT_EQ(rope_split_time(32), (RopeSplit{16, 0, 0}));
}

// The product of a rotated query and key depends on the difference of their positions alone.
TEST(Rope, ScoresDependOnDistanceAlone) {
  const int64_t k = 12;
  const at::Tensor q = normal({1, 1, 1, k}, 1), key = normal({1, 1, 1, k}, 2);
  const auto score = [&](double at_query, double at_key) {
    const auto table = [&](double p) {
      return rope_table(
          at::stack({normal({1}, 3) * 0 + p, normal({1}, 3) * 0 + 2 * p, normal({1}, 3) * 0 - p},
                    1),
          rope_split_video(k), 100.0);
    };
    const RopeTable a = table(at_query), b = table(at_key);
    return (rotate(q, a.cos, a.sin) * rotate(key, b.cos, b.sin)).sum().item<float>();
  };
  EXPECT_NEAR(score(5, 2), score(103, 100), 1e-4);
  EXPECT_GT(std::abs(score(5, 2) - score(5, 4)), 1e-3);
}

TEST(Rope, KeepsLengths) {
  const at::Tensor x = normal({2, 7, 3, 16}, 1);
  const at::Tensor time = at::arange(7, at::kFloat);
  const RopeTable table = rope_table(at::stack({time, time * 3, time * 0}, 1), {3, 3, 2}, 100.0);
  EXPECT_LT(relative_error(rotate(x, table.cos, table.sin).square().sum(-1), x.square().sum(-1)),
            1e-5);
}

// Angles are not rounded to bfloat16: only the result is.
TEST(Rope, RotatesBfloat16InFloat) {
  const at::Tensor x = normal({2, 7, 3, 16}, 1).to(at::kBFloat16);
  const at::Tensor time = at::arange(7, at::kFloat) * 13;
  const RopeTable table = rope_table(at::stack({time, time, time}, 1), {3, 3, 2}, 100.0);
  const at::Tensor got = rotate(x, table.cos, table.sin);
  EXPECT_EQ(got.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(got.equal(rotate(x.to(at::kFloat), table.cos, table.sin).to(at::kBFloat16)));
}

}  // namespace
}  // namespace praxino::ops
