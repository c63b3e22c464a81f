#include "praxino/layers/weight_copies.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "praxino/layers/linear.h"
#include "praxino/layers/token_products.h"
#include "praxino/parallel/mesh.h"
#include "support/weight_copies.h"

namespace praxino {
namespace {

using testing::current_copies;
using testing::matrices;
using testing::normal;
using testing::same_bits;
using Tensors = std::vector<at::Tensor>;

Parameters three() {
  Parameters parameters;
  parameters.add("a", normal({5, 7}, 1), ParameterRole::kMatrix);
  parameters.add("border", normal({5, 7}, 2), ParameterRole::kProjection);
  parameters.add("b", normal({3, 4}, 3), ParameterRole::kMatrix);
  return parameters;
}

at::Tensor copy_of(const Parameter& parameter) { return parameter.copy->of(parameter.value); }

at::Tensor rounded(const at::Tensor& weight) { return weight.detach().to(at::kBFloat16); }

TEST(WeightCopies, AreThoseOfMatricesInOnePieceOfMemory) {
  const Parameters parameters = three();
  refresh_copies(parameters);  // there are none
  keep_copies(parameters);
  const Parameter &a = *parameters.find("a"), &b = *parameters.find("b");
  EXPECT_EQ(parameters.find("border")->copy, nullptr);
  EXPECT_FALSE(copy_of(a).defined()) << "nobody has written it";
  refresh_copies(parameters);
  EXPECT_EQ(current_copies(parameters), matrices(parameters));
  EXPECT_TRUE(a.copy->memory().is_alias_of(b.copy->memory()));
  EXPECT_EQ(b.copy->memory().storage_offset() % 256, 0);
  EXPECT_THROW(keep_copies(parameters), c10::Error);
}

// Each way in which a weight changes, with and without a version counter that tells.
TEST(WeightCopies, OfAnotherValueAreNeverRead) {
  const Parameters parameters = three();
  keep_copies(parameters);
  const Parameter &a = *parameters.find("a"), &b = *parameters.find("b");
  at::Tensor weight = a.value;
  const at::NoGradGuard no_grad;
  const std::vector<std::function<void()>> changes = {
      [&] { weight.mul_(1.5); },
      [&] { weight.detach().view({-1})[3] = 9; },  // as a gradient test does
      [&] { at::_foreach_mul_({weight}, 0.5); },
      [&] {
        weight.set_data(normal({5, 7}, 8));
      },
      [&] {
        weight.data().add_(1);  // hidden from the counter
        forget_copies(parameters);
      }};
  for (size_t i = 0; i < changes.size(); ++i) {
    refresh_copies(parameters);
    EXPECT_EQ(current_copies(parameters), matrices(parameters));
    const at::Tensor kept = b.copy->memory().clone();
    const void* const address = a.copy->memory().const_data_ptr();
    changes[i]();
    EXPECT_FALSE(copy_of(a).defined()) << i;
    b.copy->memory().zero_();  // shows whether it is written again
    refresh_copies(parameters);
    EXPECT_TRUE(same_bits(copy_of(a), rounded(weight))) << i;
    EXPECT_EQ(a.copy->memory().const_data_ptr(), address);
    const bool all = i + 1 == changes.size();
    EXPECT_EQ(same_bits(b.copy->memory(), kept), all) << "only what has changed is rounded";
    b.copy->memory().copy_(kept);
  }
}

TEST(WeightCopies, CannotBeginBesideAnOptimizerThatDoesNotWriteThem) {
  const Parameters parameters = three();
  EXPECT_FALSE(parameters.find("a")->copy->lend().defined());
  EXPECT_THROW(keep_copies(parameters), c10::Error);
}

/// A result, and the gradients of a sum in which every element counts differently.
Tensors differentiated(const at::Tensor& y, const Tensors& leaves) {
  for (at::Tensor leaf : leaves) leaf.mutable_grad() = at::Tensor();
  (y.to(at::kFloat) * normal(y.sizes(), 50)).sum().backward();
  Tensors all = {y};
  for (const at::Tensor& leaf : leaves) all.push_back(leaf.grad());
  return all;
}

void expect_same_bits(const Tensors& got, const Tensors& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(same_bits(got[i], want[i])) << i;
}

TEST(WeightCopies, GiveTheProductsTheirBits) {
  Parameters parameters;
  const Linear layer(
      ParameterScope(parameters, at::make_generator<at::CPUGeneratorImpl>(1), at::kCPU), 24, 7);
  const at::Tensor x = normal({3, 5, 24}, 2).to(at::kBFloat16).requires_grad_();
  const Tensors leaves = {x, layer.weight};
  const Tensors want = differentiated(layer(x), leaves);
  keep_copies(parameters);
  refresh_copies(parameters);
  EXPECT_TRUE(layer.matrix().copy.defined());
  expect_same_bits(differentiated(layer(x), leaves), want);
  EXPECT_TRUE(same_bits(layer(x.to(at::kFloat)), ops::linear(x.to(at::kFloat), layer.weight)));

  const at::NoGradGuard no_grad;
  parameters.all()[0].copy->memory().fill_(1);
  EXPECT_FALSE(same_bits(layer(x), want[0])) << "the copy is what is multiplied with";
  layer.weight.detach().mul_(1);
  EXPECT_TRUE(same_bits(layer(x), want[0])) << "but not once the weight was written";
}

TEST(WeightCopies, GiveProductsOfSharedTokensTheirBits) {
  run_as_threads({.tensor = 2}, [&](Mesh& mesh) {
    Parameters parameters;
    const auto rank = static_cast<uint64_t>(mesh.tensor().rank());
    for (const uint64_t i : {1, 2})
      parameters.add("w" + std::to_string(i), normal({6, 8}, 10 * rank + i),
                     ParameterRole::kMatrix);
    const at::Tensor x = normal({1, 2, 3, 8}, rank).to(at::kBFloat16).requires_grad_();
    const TokenShares shares{.tokens = {3, 3}, .frames = {}};
    const auto run = [&] {
      std::vector<ops::Matrix> operands;
      for (const Parameter& p : parameters.all()) operands.emplace_back(p.value, copy_of(p));
      const Tensors y = gathered_products(x, operands, shares, mesh.tensor());
      return differentiated(y[0] + y[1], {x, operands[0].weight, operands[1].weight});
    };
    const Tensors want = run();
    keep_copies(parameters);
    refresh_copies(parameters);
    EXPECT_EQ(current_copies(parameters), matrices(parameters));
    expect_same_bits(run(), want);
    for (const Parameter& p : parameters.all()) p.copy->memory().fill_(1);
    EXPECT_FALSE(same_bits(run()[0], want[0])) << "the copy is what is multiplied with";
  });
}

}  // namespace
}  // namespace praxino
