#include "praxino/layers/slice.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include "praxino/layers/linear.h"
#include "praxino/parallel/mesh.h"
#include "support/tensors.h"

namespace praxino {
namespace {

using testing::normal;

Slice of_rank(Slice slice, int64_t rank) {
  slice.rank = rank;
  return slice;
}

TEST(Slice, PartsOfAllRanksAreTheWholeAgain) {
  const at::Tensor matrix = normal({24, 12}, 1);
  for (const Slice& slice : {slice_of(0, 24, 4, 3, 0), slice_of(0, 24, 8, 2, 0),
                             slice_of(1, 12, 2, 4, 0), slice_of(0, 12, 4, 2, 0, /*copies=*/2)}) {
    std::vector<at::Tensor> parts;
    for (int64_t rank = 0; rank < slice.ranks(); ++rank) {
      parts.push_back(of_rank(slice, rank).part_of(matrix));
      EXPECT_EQ(parts.back().size(slice.dim), slice.length(rank));
      EXPECT_EQ(slice.whole_sizes(parts.back().sizes()), matrix.sizes().vec());
    }
    EXPECT_EQ(slice.longest(), parts.front().size(slice.dim));
    EXPECT_TRUE(slice.join(parts).equal(matrix));
  }
}

// Two things one after the other, as in the feed-forward: a rank has the same share of each.
TEST(Slice, OfTwoThingsTakesTheSameShareOfEach) {
  const at::Tensor a = normal({6, 3}, 1), b = normal({6, 3}, 2);
  const at::Tensor part = slice_of(0, 6, 2, 2, 1, /*copies=*/2).part_of(at::cat({a, b}));
  EXPECT_TRUE(part.equal(at::cat({a.narrow(0, 4, 2), b.narrow(0, 4, 2)})));
}

TEST(Slice, ValuesDoNotDependOnTheNumberOfRanks) {
  const auto made = [](const std::optional<Slice>& slice) {
    Parameters parameters;
    const ParameterScope scope(parameters, at::make_generator<at::CPUGeneratorImpl>(uint64_t{7}),
                               at::kCPU);
    const Linear linear(scope, 5, 8, {.slice = slice});
    const at::Tensor next = scope.normal("next", {3}, 1, ParameterRole::kVector);
    EXPECT_EQ(parameters.count(), 43);
    return std::pair(linear.weight.detach(), next.detach());
  };
  const auto [whole, next] = made({});
  std::vector<at::Tensor> parts;
  for (int64_t rank = 0; rank < 3; ++rank) {
    const auto [part, after] = made(slice_of(0, 8, 1, 3, rank));
    EXPECT_TRUE(after.equal(next));
    parts.push_back(part);
  }
  EXPECT_TRUE(at::cat(parts).equal(whole));
}

TEST(Slice, PartsAreTradedForWholesAndBack) {
  for (const Slice& slice :
       {slice_of(0, 12, 2, 3, 0), slice_of(1, 8, 2, 3, 0), slice_of(0, 6, 2, 3, 0, /*copies=*/2)}) {
    run_as_threads({.tensor = 3}, [&](Mesh& mesh) {
      const Communicator& group = mesh.tensor();
      const Slice own = of_rank(slice, group.rank());
      const at::Tensor matrices = normal({4, 12, 8}, 3);
      const at::Tensor parts = own.part_of(matrices);
      const std::vector<int64_t> counts = {2, 2, 0};
      const at::Tensor wholes = trade_parts(parts, own, counts, group);
      ASSERT_EQ(wholes.size(0), counts[static_cast<size_t>(group.rank())]);
      if (wholes.size(0) > 0) {
        const auto pieces = wholes.split_with_sizes(own.lengths(), 1 + own.dim);
        EXPECT_TRUE(own.join(pieces).equal(matrices.narrow(0, 2 * group.rank(), 2)));
      }
      EXPECT_TRUE(trade_back(wholes, own, counts, group).equal(parts));
      const at::Tensor at_one = whole_at(1, own.part_of(matrices[0]), own, group);
      EXPECT_EQ(at_one.defined(), group.rank() == 1);
      if (at_one.defined()) {
        EXPECT_TRUE(at_one.equal(matrices[0]));
      }
    });
  }
}

}  // namespace
}  // namespace praxino
