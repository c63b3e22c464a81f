#include "optim/muon.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_svdvals.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "praxino/parallel/mesh.h"
#include "small_model.h"

namespace praxino {
namespace {

using testing::normal;
using testing::relative_error;

/// One matrix, in double, straight from the recipe.
at::Tensor orthogonalized(const at::Tensor& matrix) {
  at::Tensor x = matrix.to(at::kDouble);
  const bool tall = x.size(0) > x.size(1);
  x = x / at::linalg_vector_norm(x, 2);
  if (tall) x = x.t();
  for (int i = 0; i < 5; ++i) {
    const at::Tensor a = at::matmul(x, x.t());
    x = 3.4445 * x + at::matmul(-4.7750 * a + 2.0315 * at::matmul(a, a), x);
  }
  return tall ? x.t() : x;
}

TEST(Muon, BringsSingularValuesNearOne) {
  for (const auto& shape : {std::vector<int64_t>{3, 32, 96}, {3, 96, 32}, {1, 16, 64}}) {
    const at::Tensor values = at::linalg_svdvals(orthogonalize(normal(shape, 5)));
    EXPECT_GT(values.min().item<float>(), 0.6) << shape;
    EXPECT_LT(values.max().item<float>(), 1.3) << shape;
  }
}

TEST(Muon, OrthogonalizesTheSameAtAnyScale) {
  const at::Tensor x = normal({2, 8, 24}, 5);
  const at::Tensor want = orthogonalize(x);
  // bfloat16 products: two roundings of the input may differ by a unit in the last place.
  EXPECT_LT(relative_error(orthogonalize(x * 1e-12), want), 0.05);
  EXPECT_LT(relative_error(orthogonalize(x * 1e12), want), 0.05);
}

TEST(Muon, KeepsZerosAndDoesNotMixTheMatricesOfABatch) {
  const at::Tensor x = normal({1, 8, 24}, 5);
  const at::Tensor both = orthogonalize(at::cat({x, at::zeros_like(x)}));
  EXPECT_TRUE(both[1].equal(at::zeros({8, 24})));
  EXPECT_LT(relative_error(both[0], orthogonalized(x[0])), 0.05);
}

TEST(Muon, MatchesTheFormulaOverSeveralStepsForWideAndTallMatrices) {
  OptimConfig config;
  config.lr = 0.02;
  config.weight_decay = 0.1;
  config.clip = 0;
  for (const auto& shape : {std::vector<int64_t>{8, 24}, {24, 8}, {8, 8}}) {
    Parameters parameters;
    const at::Tensor w = parameters.add("w", normal(shape, 3), ParameterRole::kMatrix);
    at::Tensor want = w.detach().to(at::kDouble);
    at::Tensor momentum = at::zeros_like(want);
    const auto optimizer = make_optimizer(config, parameters);
    for (uint64_t i = 0; i < 4; ++i) {
      testing::set_gradients(parameters, i);
      const at::Tensor g = w.grad().to(at::kDouble);
      momentum = 0.95 * momentum + 0.05 * g;
      const auto rows = static_cast<double>(shape[0]);
      const double scale = std::sqrt(std::max(1.0, rows / static_cast<double>(shape[1])));
      want = (1 - 0.02 * 0.1) * want - 0.02 * scale * orthogonalized(0.05 * g + 0.95 * momentum);
      optimizer->step(normal({}), 1);
    }
    // Four steps of 0.02 in bfloat16 products, against weights of about 2.
    EXPECT_LT(relative_error(w.detach(), want), 2e-3) << shape;
    EXPECT_LT(relative_error(optimizer->state().front().second, momentum), 1e-6) << shape;
  }
}

TEST(Muon, TakesOnlyMatrices) {
  Parameters parameters;
  parameters.add("w", normal({2, 3, 4}), ParameterRole::kMatrix);
  EXPECT_THROW(make_optimizer(OptimConfig{}, parameters), c10::Error);
}

// Two ranks with parts of five matrices, rows of some and columns of others, and a matrix that both
// hold: the steps of one process with the whole matrices.
TEST(Muon, TakesTheStepsOfWholeMatricesWithPartsOfThem) {
  OptimConfig config;
  config.lr = 0.02;
  config.clip = 0;
  const auto slice_for = [](size_t i, int64_t rank) -> std::optional<Slice> {
    if (i == 4) return {};
    return i % 2 == 0 ? slice_of(0, 12, 4, 2, rank, /*copies=*/2) : slice_of(1, 10, 2, 2, rank);
  };
  const auto whole = [](size_t i, uint64_t seed) { return normal({24, 10}, 10 * seed + i); };
  const auto steps = [&](const Communicator& tensor) {
    Parameters parameters;
    for (size_t i = 0; i < 5; ++i) {
      const std::optional<Slice> slice =
          tensor.size() > 1 ? slice_for(i, tensor.rank()) : std::nullopt;
      parameters.add("w" + std::to_string(i), slice ? slice->part_of(whole(i, 1)) : whole(i, 1),
                     ParameterRole::kMatrix, slice);
    }
    const auto optimizer = make_optimizer(config, parameters, {.sum = {}, .tensor = tensor});
    for (uint64_t step = 2; step < 5; ++step) {
      for (size_t i = 0; i < 5; ++i) {
        const Parameter& p = parameters.all()[i];
        at::Tensor value = p.value;
        value.mutable_grad() = p.slice ? p.slice->part_of(whole(i, step)) : whole(i, step);
      }
      optimizer->step(normal({}), 1);
    }
    std::vector<at::Tensor> values;
    for (const at::Tensor& value : parameters.values()) values.push_back(value.detach());
    return values;
  };
  const std::vector<at::Tensor> want = steps({});
  run_as_threads({.tensor = 2}, [&](Mesh& mesh) {
    const std::vector<at::Tensor> got = steps(mesh.tensor());
    for (size_t i = 0; i < 5; ++i) {
      const auto slice = slice_for(i, mesh.tensor().rank());
      const at::Tensor expected = slice ? slice->part_of(want[i]) : want[i];
      EXPECT_LT(relative_error(got[i], expected), 2e-3) << i;  // bfloat16 products
    }
  });
}

}  // namespace
}  // namespace praxino
