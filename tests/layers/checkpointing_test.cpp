#include "praxino/layers/checkpointing.h"

#include <ATen/TensorOperators.h>

#include "support/tensors.h"

namespace praxino {
namespace {

using testing::normal;

TEST(Checkpointing, GivesTheSameValueAndGradientsAndRunsTwice) {
  const at::Tensor weight = normal({4, 4}, 3).requires_grad_();
  int runs = 0;
  const auto function = [&](const at::Tensor& x, const at::Tensor& c) {
    ++runs;
    return x.matmul(weight).tanh() * c;
  };
  const auto gradients = [&](const auto& apply) {
    weight.mutable_grad() = at::Tensor();
    const at::Tensor x = normal({3, 4}, 1).requires_grad_(), c = normal({3, 4}, 2).requires_grad_();
    const at::Tensor y = apply(x, c);
    y.square().sum().backward();
    return std::vector<at::Tensor>{y.detach(), x.grad(), c.grad(), weight.grad()};
  };
  const auto plain = gradients(function);
  EXPECT_EQ(runs, 1);
  const auto twice = gradients(
      [&](const at::Tensor& x, const at::Tensor& c) { return checkpointed(function, x, c); });
  EXPECT_EQ(runs, 3);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(plain[i].equal(twice[i])) << i;
}

}  // namespace
}  // namespace praxino
