#include "praxino/layers/parameters.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include "support/tensors.h"

namespace praxino {
namespace {

using testing::normal;

ParameterScope scope_of(Parameters& parameters, uint64_t seed = 1) {
  return {parameters, at::make_generator<at::CPUGeneratorImpl>(seed), at::kCPU};
}

TEST(Parameters, AreFoundByNameInOrderOfUse) {
  Parameters parameters;
  const at::Tensor first = parameters.add("b", normal({2, 3}), ParameterRole::kMatrix);
  parameters.add("a", normal({4}), ParameterRole::kVector);
  EXPECT_EQ(parameters.all()[0].name, "b");
  EXPECT_EQ(parameters.all()[1].role, ParameterRole::kVector);
  EXPECT_TRUE(parameters.find("b")->value.is_same(first));
  EXPECT_EQ(parameters.find("c"), nullptr);
  EXPECT_EQ(parameters.count(), 10);
  EXPECT_EQ(parameters.values().size(), 2);
  EXPECT_TRUE(parameters.values()[0].is_same(first));
}

TEST(Parameters, AreLeavesThatWantGradients) {
  Parameters parameters;
  const at::Tensor p = parameters.add("p", normal({2, 3}).t(), ParameterRole::kMatrix);
  EXPECT_TRUE(p.is_leaf());
  EXPECT_TRUE(p.is_contiguous());
  p.square().sum().backward();
  EXPECT_TRUE(p.grad().equal(p.detach() * 2));
}

TEST(Parameters, RefuseANameTwiceAndOtherTypes) {
  Parameters parameters;
  parameters.add("p", normal({2}), ParameterRole::kVector);
  EXPECT_THROW(parameters.add("p", normal({2}), ParameterRole::kVector), c10::Error);
  EXPECT_THROW(parameters.add("q", normal({2}).to(at::kDouble), ParameterRole::kVector),
               c10::Error);
  EXPECT_THROW(parameters.add("r", at::Tensor(), ParameterRole::kVector), c10::Error);
}

TEST(ParameterScope, JoinsNamesIntoPaths) {
  Parameters parameters;
  const ParameterScope root = scope_of(parameters);
  root.child("blocks").child("0").zeros("gain", {3}, ParameterRole::kVector);
  root.ones("scale", {3}, ParameterRole::kVector);
  EXPECT_EQ(parameters.all()[0].name, "blocks.0.gain");
  EXPECT_EQ(parameters.all()[0].value.sum().item<float>(), 0);
  EXPECT_EQ(parameters.find("scale")->value.sum().item<float>(), 3);
}

TEST(ParameterScope, DrawsNormalValuesFromItsGenerator) {
  Parameters one;
  Parameters same;
  Parameters other;
  const at::Tensor drawn = scope_of(one).normal("w", {100, 100}, 0.02, ParameterRole::kMatrix);
  const at::Tensor again = scope_of(same).normal("w", {100, 100}, 0.02, ParameterRole::kMatrix);
  const at::Tensor new_seed =
      scope_of(other, 2).normal("w", {100, 100}, 0.02, ParameterRole::kMatrix);
  EXPECT_TRUE(drawn.equal(again));
  EXPECT_FALSE(drawn.equal(new_seed));
  EXPECT_NEAR(drawn.detach().std().item<double>(), 0.02, 0.001);
  EXPECT_NEAR(drawn.detach().mean().item<double>(), 0, 0.001);
}

TEST(ParameterScope, WithoutAGeneratorDescribesWhatIsDrawnLater) {
  const auto generator = [] { return at::make_generator<at::CPUGeneratorImpl>(3); };
  const Slice rows = slice_of(0, 40, 4, 3, 1, 2), columns = slice_of(1, 20, 4, 3, 2);
  const auto add = [&](const ParameterScope& scope) {
    scope.normal("rows", {80, 20}, 0.5, ParameterRole::kMatrix, rows);
    scope.ones("gain", {7}, ParameterRole::kVector);
    scope.normal("columns", {10, 20}, 1, ParameterRole::kMatrix, columns);
    scope.zeros("silent", {80, 5}, ParameterRole::kProjection, rows);
    scope.normal("short", {5}, 1, ParameterRole::kVector);
  };
  Parameters drawn, later;
  add({drawn, generator(), at::kCPU});
  add({later, at::Generator(), at::kCPU});
  ASSERT_EQ(later.all().size(), drawn.all().size());
  EXPECT_EQ(later.count(), drawn.count());
  const at::Generator draws = generator();
  for (size_t i = 0; i < drawn.all().size(); ++i) {
    const Parameter &want = drawn.all()[i], &got = later.all()[i];
    EXPECT_EQ(got.name, want.name);
    EXPECT_EQ(got.role, want.role);
    EXPECT_EQ(got.value.sizes(), want.value.sizes()) << got.name;
    EXPECT_TRUE(got.value.is_leaf() && got.value.requires_grad());
    EXPECT_TRUE(got.value.isnan().all().item<bool>()) << got.name;
    EXPECT_EQ(got.value.storage().nbytes(), sizeof(float)) << got.name;
    EXPECT_TRUE(first_value(got, draws).equal(want.value)) << got.name;
  }
}

TEST(ParameterScope, ContinuesOneSequenceInItsChildren) {
  Parameters parameters;
  const ParameterScope root = scope_of(parameters);
  const at::Tensor first = root.child("a").normal("w", {50}, 1, ParameterRole::kMatrix);
  const at::Tensor second = root.child("b").normal("w", {50}, 1, ParameterRole::kMatrix);
  EXPECT_FALSE(first.equal(second));
}

}  // namespace
}  // namespace praxino
