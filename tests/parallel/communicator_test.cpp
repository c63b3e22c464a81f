#include "praxino/parallel/communicator.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "praxino/base/error.h"
#include "praxino/parallel/mesh.h"
#include "support/error_text.h"

namespace praxino {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void on_ranks(int64_t ranks, const std::function<void(const Communicator&)>& run) {
  run_as_threads({.data = ranks}, [&](Mesh& mesh) { run(mesh.data()); });
}

double number(const at::Tensor& tensor, int64_t i) { return tensor.view(-1)[i].item<double>(); }

class Collectives : public ::testing::TestWithParam<std::tuple<int64_t, at::ScalarType>> {
 protected:
  int64_t ranks() const { return std::get<0>(GetParam()); }
  at::TensorOptions type() const { return at::TensorOptions().dtype(std::get<1>(GetParam())); }
};

TEST_P(Collectives, AllReduceSumsAndFindsTheLargest) {
  on_ranks(ranks(), [&](const Communicator& group) {
    const double own = static_cast<double>(group.rank() + 1);
    const at::Tensor sum = at::full({7}, own, type()), largest = at::full({7}, own, type());
    Pending first = group.all_reduce(sum);
    Pending second = group.all_reduce(largest, Reduce::kMax);
    first.wait();
    second.wait();
    second.wait();  // a second time does nothing
    EXPECT_EQ(number(sum, 6), static_cast<double>(ranks() * (ranks() + 1) / 2));
    EXPECT_EQ(number(largest, 0), static_cast<double>(ranks()));
  });
}

TEST_P(Collectives, ReduceScatterGivesEachRankItsSliceOfTheSum) {
  on_ranks(ranks(), [&](const Communicator& group) {
    const at::Tensor in = at::arange(5 * ranks(), type());
    const at::Tensor out = at::full({5}, std::nan(""), type());
    group.reduce_scatter(out, in).wait();
    for (int64_t i = 0; i < 5; ++i) {
      EXPECT_EQ(number(out, i), static_cast<double>(ranks() * (5 * group.rank() + i)));
    }
  });
}

/// Equal segments, unequal ones, and such where all but the last rank have nothing.
std::vector<std::vector<int64_t>> kinds_of_segments(int64_t ranks) {
  std::vector<int64_t> equal = {0}, unequal = {0}, last(static_cast<size_t>(ranks), 0);
  for (int64_t r = 0; r < ranks; ++r) {
    equal.push_back(equal.back() + 3);
    unequal.push_back(unequal.back() + 2 * r + (r == 1 ? 5 : 0));
  }
  last.push_back(4);
  return {equal, unequal, last, std::vector<int64_t>(static_cast<size_t>(ranks) + 1, 0)};
}

TEST_P(Collectives, SegmentsOfAnyLengthAreReducedToTheirOwnersAndGathered) {
  for (const std::vector<int64_t>& begins : kinds_of_segments(ranks())) {
    on_ranks(ranks(), [&](const Communicator& group) {
      const at::Tensor flat = at::arange(begins.back(), type()).mul_(group.rank() + 1);
      for (Pending& pending : group.reduce_segments(flat, begins)) pending.wait();
      const auto own = static_cast<size_t>(group.rank());
      const auto factor = static_cast<double>(ranks() * (ranks() + 1) / 2);
      for (int64_t i = begins[own]; i < begins[own + 1]; ++i) {
        EXPECT_EQ(number(flat, i), factor * static_cast<double>(i));
      }
      for (int64_t i = 0; i < begins.back(); ++i) {
        if (i < begins[own] || i >= begins[own + 1]) flat[i] = std::nan("");
      }
      for (Pending& pending : group.gather_segments(flat, begins)) pending.wait();
      for (int64_t i = 0; i < begins.back(); ++i) {
        EXPECT_EQ(number(flat, i), factor * static_cast<double>(i));
      }
    });
  }
}

TEST_P(Collectives, AllGatherBringsTheSlicesTogetherInPlace) {
  on_ranks(ranks(), [&](const Communicator& group) {
    const at::Tensor all = at::full({3 * ranks()}, std::nan(""), type());
    const at::Tensor own = all.narrow(0, 3 * group.rank(), 3);
    own.fill_(static_cast<double>(10 + group.rank()));
    group.all_gather(all, own).wait();
    for (int64_t r = 0; r < ranks(); ++r) {
      EXPECT_EQ(number(all, 3 * r + 2), static_cast<double>(10 + r));
    }
  });
}

TEST_P(Collectives, AllToAllExchangesUnequalPieces) {
  on_ranks(ranks(), [&](const Communicator& group) {
    // Rank r gives r + 1 rows to everyone.
    const int64_t own = group.rank() + 1;
    std::vector<int64_t> give(static_cast<size_t>(ranks()), own), take;
    for (int64_t r = 0; r < ranks(); ++r) take.push_back(r + 1);
    const at::Tensor in = at::full({own * ranks(), 2}, static_cast<double>(own), type());
    const at::Tensor out = at::full({ranks() * (ranks() + 1) / 2, 2}, std::nan(""), type());
    group.all_to_all(out, in, take, give).wait();
    EXPECT_EQ(number(out, 0), 1);
    EXPECT_EQ(number(out, out.numel() - 1), static_cast<double>(ranks()));
    double sum = 0, want = 0;
    for (int64_t i = 0; i < out.numel(); ++i) sum += number(out, i);
    for (int64_t r = 1; r <= ranks(); ++r) want += static_cast<double>(2 * r * r);
    EXPECT_EQ(sum, want);
  });
}

TEST_P(Collectives, BroadcastAndARingOfMessages) {
  on_ranks(ranks(), [&](const Communicator& group) {
    const int64_t last = ranks() - 1;
    const at::Tensor shared = at::full({4}, static_cast<double>(group.rank()), type());
    group.broadcast(shared, last).wait();
    EXPECT_EQ(number(shared, 3), static_cast<double>(last));
    if (ranks() == 1) return;
    const int64_t next = (group.rank() + 1) % ranks();
    const int64_t before = (group.rank() + last) % ranks();
    const at::Tensor own = at::full({4}, static_cast<double>(group.rank()), type());
    const at::Tensor got = at::empty({4}, type());
    Pending sent = group.send(own, next, 3);
    group.receive(got, before, 3).wait();
    sent.wait();
    EXPECT_EQ(number(got, 0), static_cast<double>(before));
    group.barrier();
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, Collectives,
                         ::testing::Combine(::testing::Values(1, 2, 4),
                                            ::testing::Values(at::kFloat, at::kBFloat16)));

TEST(Communicator, GathersTextsOfAnyLength) {
  on_ranks(3, [](const Communicator& group) {
    const std::string own = group.rank() == 1 ? "" : std::string(1000 * group.rank() + 1, 'x');
    const std::vector<std::string> all = group.all_gather_text(own);
    EXPECT_THAT(all, ElementsAre("x", "", std::string(2001, 'x')));
  });
}

TEST(Communicator, RefusesATensorWithStrides) {
  on_ranks(2, [](const Communicator& group) {
    EXPECT_THROW(group.all_reduce(at::zeros({3, 4}).t()).wait(), c10::Error);
  });
}

TEST(Communicator, NamesRankCollectiveAndTheSilentRank) {
  std::string told;
  const auto run = [&](Mesh& mesh) {
    const at::Tensor values = at::zeros({3, 5});
    mesh.data().all_reduce(values).wait();
    if (mesh.rank() == 2) return;  // its connections close
    const std::string text = testing::error_text([&] { mesh.data().all_reduce(values).wait(); });
    if (mesh.rank() == 0) told = text;
  };
  run_as_threads({.data = 3}, run);
  EXPECT_THAT(told, HasSubstr("rank 0: all_reduce (number 2 of the group 'data', Float [3, 5])"));
  EXPECT_THAT(told, HasSubstr("rank 2 has left the others"));
}

}  // namespace
}  // namespace praxino
