// Every function against the same thing done in one process, forward and backward, with pieces of
// different lengths, none at all among them.
#include "praxino/parallel/exchange.h"

#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include "praxino/parallel/mesh.h"
#include "praxino/parallel/share.h"
#include "support/tensors.h"

namespace praxino {
namespace {

using testing::normal;
using Counts = std::vector<int64_t>;

int64_t begin_of(const Counts& counts, int64_t rank) {
  int64_t begin = 0;
  for (int64_t i = 0; i < rank; ++i) begin += counts[static_cast<size_t>(i)];
  return begin;
}

at::Tensor piece(const at::Tensor& whole, int64_t dim, const Counts& counts, int64_t rank) {
  return whole.narrow(dim, begin_of(counts, rank), counts[static_cast<size_t>(rank)]);
}

/// A leaf of its own values.
at::Tensor leaf(const at::Tensor& values) { return values.clone().requires_grad_(); }

TEST(Share, PiecesFollowEachOtherAndDifferByOneAtMost) {
  for (int64_t length = 0; length < 20; ++length) {
    for (int64_t ranks = 1; ranks < 7; ++ranks) {
      int64_t next = 0;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const Share share = share_of(length, ranks, rank);
        EXPECT_EQ(share.begin, next);
        EXPECT_EQ(share.count, share_counts(length, ranks)[static_cast<size_t>(rank)]);
        EXPECT_LE(std::abs(share.count * ranks - length), ranks - 1);
        next = share.end();
      }
      EXPECT_EQ(next, length);
    }
  }
}

/// Three ranks, each with `counts` of dim 1 of the same 2 x 6 x 3 values.
class Exchange : public ::testing::TestWithParam<Counts> {
 protected:
  static constexpr int64_t kRanks = 3;
  void run(const std::function<void(const Communicator&)>& test) const {
    run_as_threads({.tensor = kRanks}, [&](Mesh& mesh) { test(mesh.tensor()); });
  }
  const Counts counts_ = GetParam();
  const at::Tensor whole_ = normal({2, 6, 3}, 1);
};

// The loss is the sum over ranks of <gathered, weights of that rank>.
TEST_P(Exchange, GatherPieces) {
  run([&](const Communicator& group) {
    const at::Tensor own = leaf(piece(whole_, 1, counts_, group.rank()));
    const at::Tensor all = gather_pieces(own, 1, counts_, group);
    EXPECT_TRUE(all.equal(whole_));
    const auto weight = [](int64_t rank) { return normal({2, 6, 3}, 10 + rank); };
    (all * weight(group.rank())).sum().backward();
    const at::Tensor sum = weight(0) + weight(1) + weight(2);
    EXPECT_TRUE(own.grad().allclose(piece(sum, 1, counts_, group.rank()), 1e-6, 1e-6));
  });
}

TEST_P(Exchange, ScatterSum) {
  run([&](const Communicator& group) {
    const auto value = [](int64_t rank) { return normal({2, 6, 3}, 20 + rank); };
    const at::Tensor own = leaf(value(group.rank()));
    const at::Tensor part = scatter_sum(own, 1, counts_, group);
    const at::Tensor sum = value(0) + value(1) + value(2);
    EXPECT_TRUE(part.allclose(piece(sum, 1, counts_, group.rank()), 1e-6, 1e-6));
    (part * piece(whole_, 1, counts_, group.rank())).sum().backward();
    EXPECT_TRUE(own.grad().equal(whole_));
  });
}

// Both under way at once, their inputs let go of, the later one waited for first.
TEST_P(Exchange, StartedOnesRunBesideEachOther) {
  run([&](const Communicator& group) {
    const auto value = [](int64_t rank) { return normal({2, 6, 3}, 20 + rank); };
    PendingTensor all =
        start_gather(piece(whole_, 1, counts_, group.rank()).clone(), 1, counts_, group);
    PendingTensor part = start_scatter_sum(value(group.rank()), 1, counts_, group);
    const at::Tensor sum = value(0) + value(1) + value(2);
    EXPECT_TRUE(part.wait().allclose(piece(sum, 1, counts_, group.rank()), 1e-6, 1e-6));
    EXPECT_TRUE(all.wait().equal(whole_));
  });
}

TEST_P(Exchange, SwitchPieces) {
  run([&](const Communicator& group) {
    const Counts cut = {2, 0, 1};
    const at::Tensor own = leaf(piece(whole_, 1, counts_, group.rank()));
    const at::Tensor other = switch_pieces(own, 1, counts_, 2, cut, group);
    EXPECT_TRUE(other.equal(piece(whole_, 2, cut, group.rank())));
    const at::Tensor weight = normal({2, 6, 3}, 30);
    (other * piece(weight, 2, cut, group.rank())).sum().backward();
    EXPECT_TRUE(own.grad().equal(piece(weight, 1, counts_, group.rank())));
  });
}

TEST_P(Exchange, GatherResult) {
  run([&](const Communicator& group) {
    const at::Tensor own = leaf(piece(whole_, 1, counts_, group.rank()));
    const at::Tensor all = gather_result(own, 1, counts_, group);
    EXPECT_TRUE(all.equal(whole_));
    (all * whole_).sum().backward();  // the same on every rank: counts once
    EXPECT_TRUE(own.grad().equal(piece(whole_, 1, counts_, group.rank())));
  });
}

TEST_P(Exchange, Bfloat16TravelsAsItIs) {
  run([&](const Communicator& group) {
    const at::Tensor whole = whole_.to(at::kBFloat16);
    const at::Tensor own = piece(whole, 1, counts_, group.rank());
    EXPECT_TRUE(gather_pieces(own, 1, counts_, group).equal(whole));
    EXPECT_TRUE(switch_pieces(own, 1, counts_, 2, {1, 1, 1}, group)
                    .equal(whole.narrow(2, group.rank(), 1)));
    EXPECT_TRUE(scatter_sum(whole, 1, counts_, group)
                    .allclose(piece(whole * 3, 1, counts_, group.rank()), 0x1p-6, 0x1p-6));
  });
}

INSTANTIATE_TEST_SUITE_P(Pieces, Exchange,
                         ::testing::Values(Counts{2, 2, 2}, Counts{3, 2, 1}, Counts{0, 5, 1}));

TEST(Exchange, AGroupOfOneReturnsItsInput) {
  const at::Tensor x = normal({2, 3}, 1);
  const Communicator alone;
  EXPECT_TRUE(gather_pieces(x, 0, {2}, alone).is_same(x));
  EXPECT_TRUE(scatter_sum(x, 0, {2}, alone).is_same(x));
  EXPECT_TRUE(switch_pieces(x, 0, {2}, 1, {3}, alone).is_same(x));
  EXPECT_TRUE(gather_result(x, 0, {2}, alone).is_same(x));
  EXPECT_TRUE(start_gather(x, 0, {2}, alone).wait().is_same(x));
  EXPECT_TRUE(start_scatter_sum(x, 0, {2}, alone).wait().is_same(x));
}

}  // namespace
}  // namespace praxino
