#include "praxino/parallel/data_parallel.h"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <latch>
#include <mutex>

#include "parallel/sample_model.h"
#include "praxino/parallel/mesh.h"

namespace praxino {
namespace {

using testing::inputs;
using testing::relative_error;
using testing::SampleModel;
using testing::targets;

constexpr int64_t kRows = 8;  // of a micro-batch over all ranks

/// The gradients of one process for the same global batch.
std::vector<at::Tensor> single_gradients(int64_t parts, bool use_extra = true) {
  const SampleModel model;
  for (int64_t part = 0; part < parts; ++part) {
    const at::Tensor x = inputs(part * kRows, kRows), y = targets(part * kRows, kRows);
    (model.loss(x, y, false, use_extra) / static_cast<double>(parts)).backward();
  }
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& p : model.parameters) {
    gradients.push_back(p.grad().defined() ? p.grad() : at::zeros_like(p));
  }
  return gradients;
}

struct Case {
  int64_t ranks = 2;
  int64_t parts = 1;
  int64_t bucket_bytes = 1;
  bool checkpoint = false;
  at::ScalarType type = at::kFloat;
};

void backward(const SampleModel& model, DataParallel& parallel, const Mesh& mesh, const Case& c) {
  const int64_t rows = kRows / c.ranks;
  for (int64_t part = 0; part < c.parts; ++part) {
    const int64_t begin = part * kRows + mesh.rank() * rows;
    parallel.before_backward(part + 1 == c.parts);
    (model.loss(inputs(begin, rows), targets(begin, rows), c.checkpoint) /
     static_cast<double>(c.parts))
        .backward();
  }
}

/// Every parameter's gradient, from the rank that owns it.
std::vector<at::Tensor> parallel_gradients(const Case& c) {
  std::vector<at::Tensor> gradients(SampleModel().parameters.size());
  std::mutex mutex;
  run_as_threads({.data = c.ranks}, [&](Mesh& mesh) {
    const SampleModel model;
    DataParallel parallel(model.parameters, mesh.data(),
                          {.bucket_bytes = c.bucket_bytes, .gradients = c.type});
    backward(model, parallel, mesh, c);
    parallel.reduce_gradients();
    const std::lock_guard lock(mutex);
    for (size_t i = 0; i < gradients.size(); ++i) {
      EXPECT_FALSE(model.parameters[i].grad().defined());
      if (!parallel.owns(i)) continue;
      EXPECT_FALSE(gradients[i].defined()) << "parameter " << i << " has two owners";
      gradients[i] = parallel.owned()[i].grad().clone();
    }
  });
  return gradients;
}

TEST(DataParallel, GradientsAreThoseOfOneProcessWithTheSameGlobalBatch) {
  for (const Case& c : {Case{}, Case{.ranks = 4}, Case{.ranks = 4, .bucket_bytes = 1 << 20},
                        Case{.parts = 3}, Case{.checkpoint = true},
                        Case{.ranks = 4, .parts = 2, .bucket_bytes = 2000, .checkpoint = true}}) {
    const std::vector<at::Tensor> want = single_gradients(c.parts);
    const std::vector<at::Tensor> got = parallel_gradients(c);
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_TRUE(got[i].defined()) << "nobody owns parameter " << i;
      EXPECT_LE(relative_error(got[i], want[i]), 1e-6)
          << "parameter " << i << ", " << c.ranks << " ranks, " << c.parts << " parts";
    }
  }
}

TEST(DataParallel, Bfloat16GradientsAreAsCloseAsTheirType) {
  const std::vector<at::Tensor> want = single_gradients(1);
  const std::vector<at::Tensor> got = parallel_gradients({.type = at::kBFloat16});
  double largest = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got[i].scalar_type(), at::kFloat);
    largest = std::max(largest, relative_error(got[i], want[i]));
  }
  EXPECT_LE(largest, 3 * 0x1p-8);  // three roundings of half a unit in the last place, doubled
  EXPECT_GT(largest, 0x1p-13) << "it travelled in float32";
}

TEST(DataParallel, TwiceTheSameBits) {
  for (const Case& c : {Case{.bucket_bytes = 2000}, Case{.ranks = 4, .parts = 2}}) {
    const std::vector<at::Tensor> first = parallel_gradients(c), second = parallel_gradients(c);
    for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(first[i].equal(second[i]));
  }
}

TEST(DataParallel, AParameterWithoutAGradientOnSomeRanksCountsAsZeroThere) {
  run_as_threads({.data = 2}, [](Mesh& mesh) {
    const SampleModel model;
    DataParallel parallel(model.parameters, mesh.data(), {.bucket_bytes = 1});
    for (int step = 0; step < 2; ++step) {
      parallel.before_backward(true);
      // The last parameter, the first to be ready, is missing on rank 1 alone: the order of the
      // collectives must not depend on it.
      model.loss(inputs(0, 4), targets(0, 4), false, mesh.first()).backward();
      parallel.reduce_gradients();
      if (!parallel.owns(4)) continue;
      const SampleModel alone;
      alone.loss(inputs(0, 4), targets(0, 4)).backward();
      EXPECT_LE(relative_error(parallel.owned()[4].grad(), alone.parameters[4].grad() / 2), 1e-6);
    }
  });
}

// The last parameter has no gradient on rank 1, and in the second step rank 1's rows are not
// finite: what the sum makes of it must not be seen.
TEST(DataParallel, TellsWhatThisRankAloneGave) {
  run_as_threads({.data = 2}, [](Mesh& mesh) {
    const SampleModel model;
    DataParallel parallel(model.parameters, mesh.data(), {.bucket_bytes = 2000});
    const SampleModel alone;
    for (const bool spoiled : {false, true}) {
      for (const int64_t part : {0, 1}) {
        const int64_t begin = 8 * part + 4 * mesh.rank();
        at::Tensor x = inputs(begin, 4);
        if (spoiled && !mesh.first()) x = x / 0.0;
        parallel.before_backward(part == 1);
        model.loss(x, targets(begin, 4), false, mesh.first()).backward();
        alone.loss(x, targets(begin, 4), false, mesh.first()).backward();
      }
      parallel.reduce_gradients();
      const at::Tensor& norms = parallel.own_norms();
      ASSERT_EQ(norms.numel(), 5);
      for (int64_t i = 0; i < norms.numel(); ++i) {
        at::Tensor& own = alone.parameters[static_cast<size_t>(i)].mutable_grad();
        const double got = norms[i].item<double>();
        if (spoiled && !mesh.first() && own.defined()) {
          EXPECT_FALSE(std::isfinite(got)) << i;
        } else {
          const double want = own.defined() ? own.norm().item<double>() / 2 : 0;
          EXPECT_NEAR(got, want, 1e-6 * want) << i;
        }
        own = at::Tensor();
      }
    }
  });
}

TEST(DataParallel, WeightsReachEveryRankInPlace) {
  run_as_threads({.data = 3}, [](Mesh& mesh) {
    const SampleModel model;
    const SampleModel before;
    DataParallel parallel(model.parameters, mesh.data(), {.bucket_bytes = 2000});
    {
      const at::NoGradGuard no_grad;
      for (size_t i = 0; i < before.parameters.size(); ++i) {
        if (parallel.owns(i)) parallel.owned()[i].add_(static_cast<double>(i) + 1);
      }
    }
    parallel.gather_weights();
    parallel.wait_for_weights();
    for (size_t i = 0; i < before.parameters.size(); ++i) {
      EXPECT_TRUE(model.parameters[i].equal(before.parameters[i] + static_cast<double>(i + 1)));
    }
  });
}

// So that a checkpoint is read while the ranks still connect.
TEST(DataParallel, IsMadeWithoutWaitingForAnotherRankAndTakesTheOwnersWeights) {
  std::latch built(1);
  run_as_threads({.data = 2}, [&](Mesh& mesh) {
    if (mesh.first()) built.wait();
    const SampleModel model;
    const SampleModel before;
    {
      const at::NoGradGuard no_grad;
      for (const at::Tensor& p : model.parameters) p.add_(static_cast<double>(mesh.rank()));
    }
    DataParallel parallel(model.parameters, mesh.data(), {.bucket_bytes = 2000});
    if (!mesh.first()) built.count_down();
    {
      const at::NoGradGuard no_grad;
      for (size_t i = 0; i < before.parameters.size(); ++i) {
        EXPECT_TRUE(
            model.parameters[i].equal(before.parameters[i] + static_cast<double>(mesh.rank())));
        if (parallel.owns(i)) parallel.owned()[i].copy_(before.parameters[i]).add_(2);
      }
    }
    parallel.gather_weights();
    parallel.wait_for_weights();
    for (size_t i = 0; i < before.parameters.size(); ++i) {
      EXPECT_TRUE(model.parameters[i].equal(before.parameters[i] + 2));
    }
  });
}

TEST(DataParallel, EveryRankKeepsItsShareAndNoMore) {
  int64_t kept = 0, most = 0;
  std::mutex mutex;
  run_as_threads({.data = 2}, [&](Mesh& mesh) {
    const SampleModel model;
    const DataParallel parallel(model.parameters, mesh.data());
    const std::lock_guard lock(mutex);
    kept += parallel.owned_bytes();
    most = std::max(most, parallel.owned_bytes());
  });
  int64_t all = 0;
  for (const at::Tensor& p : SampleModel().parameters) all += static_cast<int64_t>(p.nbytes());
  EXPECT_EQ(kept, all);
  EXPECT_LT(most, all * 2 / 3);
}

TEST(DataParallel, RefusesTwoGradientsOfOneParameterInABackwardPass) {
  const auto run = [](Mesh& mesh) {
    const SampleModel model;
    DataParallel parallel(model.parameters, mesh.data());
    parallel.before_backward(true);
    const auto block = [&](const at::Tensor& in, const at::Tensor&) {
      return at::linear(in, model.parameters[2]);
    };
    const at::Tensor x = at::linear(inputs(0, 4), model.parameters[0]);
    checkpointed(block, checkpointed(block, x, x), x).sum().backward();
  };
  EXPECT_THROW(run_as_threads({.data = 2}, run), c10::Error);
}

}  // namespace
}  // namespace praxino
