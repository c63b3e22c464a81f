// The operation on the CPU: the formula against the definition.
#include "praxino/ops/cross_entropy.h"

#include <ATen/ops/arange.h>

#include "support/tensors.h"

namespace praxino::ops {
namespace {

using testing::gradients;
using testing::normal;
using testing::relative_error;

at::Tensor targets(int64_t rows, int64_t classes) {
  return at::arange(rows, at::TensorOptions(at::kLong)) * 31 % classes;
}

TEST(CrossEntropy, IsTheNegativeLogarithmOfTheTargetsShare) {
  for (const int64_t classes : {2, 37, 1000}) {
    const at::Tensor logits = normal({11, classes}) * 3, of = targets(11, classes);
    const at::Tensor share = logits.to(at::kDouble).softmax(1).gather(1, of.unsqueeze(1));
    EXPECT_LT(relative_error(cross_entropy(logits, of), -share.squeeze(1).log()), 1e-6);
  }
}

TEST(CrossEntropy, HasTheGradientOfSoftmaxTimesWeight) {
  const at::Tensor weights = normal({5}, 3), of = targets(5, 9), factors = normal({5}, 4);
  const auto got = gradients(
      [&](const auto& in) { return cross_entropy(in[0], of, {.weights = weights}); },
      {normal({5, 9})}, factors);
  at::Tensor want = normal({5, 9}).to(at::kDouble).softmax(1);
  for (int64_t row = 0; row < 5; ++row) want[row][of[row]] -= 1;
  want = want * (weights * factors).unsqueeze(1);
  EXPECT_LT(relative_error(got[0], want), 1e-6);
}

TEST(CrossEntropy, IgnoresRowsWithTheIgnoredTarget) {
  at::Tensor of = targets(4, 6);
  of[1] = 3;
  of[2] = -5;
  const at::Tensor logits = normal({4, 6});
  const CrossEntropyOptions options{.ignore_target = -5};
  EXPECT_EQ(cross_entropy(logits, of, options)[2].item<float>(), 0);
  const auto got = gradients([&](const auto& in) { return cross_entropy(in[0], of, options); },
                             {logits}, normal({4}));
  EXPECT_EQ(got[0][2].abs().max().item<float>(), 0);
  EXPECT_GT(got[0][1].abs().max().item<float>(), 0);
}

TEST(CrossEntropy, TakesBfloat16AndGivesFloat) {
  const at::Tensor logits = normal({5, 33}).to(at::kBFloat16), of = targets(5, 33);
  const at::Tensor losses = cross_entropy(logits, of);
  EXPECT_EQ(losses.scalar_type(), at::kFloat);
  EXPECT_LT(relative_error(losses, cross_entropy(logits.to(at::kFloat), of)), 1e-6);
}

TEST(CrossEntropy, TakesNoRowsAndRefusesOtherShapes) {
  EXPECT_EQ(cross_entropy(normal({0, 4}), targets(0, 4)).numel(), 0);
  EXPECT_THROW(cross_entropy(normal({3, 4}), targets(2, 4)), c10::Error);
  EXPECT_THROW(cross_entropy(normal({3, 4, 2}), targets(3, 4)), c10::Error);
  EXPECT_THROW(cross_entropy(normal({2, 4}), targets(2, 4) + 9), c10::Error);
}

}  // namespace
}  // namespace praxino::ops
