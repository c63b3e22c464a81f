#include "praxino/layers/block.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>

#include "support/tensors.h"

namespace praxino {
namespace {

using testing::normal;
using testing::relative_error;

constexpr int64_t kWidth = 32, kTokens = 5;

/// A module with its parameters.
template <class Layer>
struct Made {
  template <class... Options>
  explicit Made(const Options&... options)
      : layer({parameters, at::make_generator<at::CPUGeneratorImpl>(1), at::kCPU}, options...) {}
  const at::Tensor& value(std::string_view name) const { return parameters.find(name)->value; }
  /// Fresh layers say nothing: their last matrices are zero.
  void make_loud() {
    const at::NoGradGuard no_grad;
    uint64_t seed = 100;
    for (const Parameter& parameter : parameters.all()) {
      at::Tensor all = parameter.value;
      all.add_(normal(all.sizes(), seed++), 0.1);
    }
  }
  Parameters parameters;
  Layer layer;
};

BlockShape small_block() {
  return {.attention = {.width = kWidth, .heads = 2, .kv_heads = 1}, .mlp_ratio = 3};
}

/// All tokens at one place: no rotation.
AttentionPositions unrotated() {
  const at::Tensor one = at::ones({kTokens, kWidth / 4}), zero = at::zeros({kTokens, kWidth / 4});
  return {.queries = {.cos = one, .sin = zero}, .keys = {.cos = one, .sin = zero}};
}

at::Tensor rms(const at::Tensor& x) { return x / (x.square().mean(-1, true) + 1e-6).sqrt(); }

TEST(FeedForward, CostsWhatAPlainOneOfItsRatioCosts) {
  const auto hidden = [](int64_t width, double ratio) {
    return Made<FeedForward>(width, ratio).layer.hidden();
  };
  EXPECT_EQ(hidden(24, 4.0), 64);  // 24 * 4 * 2/3 exactly
  EXPECT_EQ(hidden(32, 3.0), 64);
  EXPECT_EQ(hidden(32, 4.0), 96);  // 85.3, rounded up
  EXPECT_EQ(hidden(8, 0.5), 16);
}

TEST(FeedForward, IsSwiGlu) {
  Made<FeedForward> made(kWidth, 3.0);
  const at::Tensor x = normal({2, 3, kTokens, kWidth});
  EXPECT_EQ(made.layer.forward(x).abs().max().item<float>(), 0) << "it starts at nothing";
  made.make_loud();
  const std::vector<at::Tensor> halves = at::linear(x, made.value("up.weight")).chunk(2, -1);
  const at::Tensor want = at::linear(at::silu(halves[0]) * halves[1], made.value("down.weight"));
  EXPECT_LT(relative_error(made.layer.forward(x), want), 1e-5);
}

TEST(Block, StartsAsTheIdentityUnderAnyCondition) {
  const Made<Block> made(small_block());
  const at::Tensor x = normal({2, 3, kTokens, kWidth});
  EXPECT_TRUE(made.layer.forward(x, normal({2, 3, kWidth}, 2), unrotated()).equal(x));
}

// docs/recipes.md, "Block": m = shift and scale before each branch, and a gate behind it.
TEST(Block, ModulatesBothBranchesByTheFramesCondition) {
  Made<Block> made(small_block());
  made.make_loud();
  const at::Tensor x = normal({2, 3, kTokens, kWidth}), condition = normal({2, 3, kWidth}, 2);
  const std::vector<at::Tensor> m =
      at::linear(condition, made.value("modulation.weight"), made.value("modulation.bias"))
          .unsqueeze(2)
          .chunk(6, -1);
  const Block& block = made.layer;
  const at::Tensor y =
      x + (1 + m[2]) * block.attention().forward(rms(x) * (1 + m[0]) + m[1], unrotated());
  const at::Tensor want = y + (1 + m[5]) * block.feed_forward().forward(rms(y) * (1 + m[3]) + m[4]);
  EXPECT_LT(relative_error(block.forward(x, condition, unrotated()), want), 2e-5);
}

}  // namespace
}  // namespace praxino
