#include "praxino/parallel/weight_shards.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <latch>
#include <mutex>
#include <set>
#include <thread>

#include "parallel/sample_model.h"
#include "praxino/parallel/mesh.h"

namespace praxino {
namespace {

using testing::inputs;
using testing::normal;
using testing::relative_error;
using testing::targets;

constexpr int64_t kRows = 8;   // of a micro-batch over all ranks
constexpr int64_t kUnits = 3;  // blocks
constexpr int64_t kOfUnit = 3;

/// A matrix before and one behind three blocks of two matrices and a vector each; the vector of the
/// last block is used on demand.
struct Stack {
  UnitParameters parameters;

  explicit Stack(uint64_t seed = 5, at::Device device = at::Device(at::kCPU)) {
    const auto add = [&](at::IntArrayRef shape, int64_t unit) {
      parameters.values.push_back(normal(shape, seed++).mul(0.3).to(device).requires_grad_());
      parameters.units.push_back(unit);
    };
    add({12, 10}, UnitParameters::kResident);
    for (int64_t unit = 0; unit < kUnits; ++unit) {
      add({20, 12}, unit);
      add({12, 20}, unit);
      add({12}, unit);
    }
    add({3, 12}, UnitParameters::kResident);
  }

  at::Tensor loss(const at::Tensor& x, const at::Tensor& y, WeightShards* shards = nullptr,
                  bool use_last_vector = true) const {
    const auto& p = parameters.values;
    at::Tensor hidden = at::tanh(at::linear(x, p.front()));
    for (int64_t unit = 0; unit < kUnits; ++unit) {
      const auto block = [&p, unit, use_last_vector](const at::Tensor& in, const at::Tensor&) {
        const auto first = static_cast<size_t>(1 + kOfUnit * unit);
        const at::Tensor out = at::linear(at::tanh(at::linear(in, p[first])), p[first + 1]) + in;
        return unit + 1 < kUnits || use_last_vector ? out + p[first + 2] : out;
      };
      CheckpointHooks hooks;
      if (shards != nullptr) {
        hooks.before = [=](Pass pass) { shards->bring(unit, pass == Pass::kBackward); };
        hooks.after = [=](Pass pass) { shards->release(unit, pass == Pass::kBackward); };
      }
      hidden = checkpointed(block, hidden, hidden.detach(), hooks);
    }
    return (at::linear(hidden, p.back()) - y).square().mean();
  }
};

std::vector<at::Tensor> single_gradients(int64_t parts) {
  const Stack model;
  for (int64_t part = 0; part < parts; ++part) {
    const at::Tensor loss = model.loss(inputs(part * kRows, kRows), targets(part * kRows, kRows));
    (loss / static_cast<double>(parts)).backward();
  }
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& p : model.parameters.values) gradients.push_back(p.grad());
  return gradients;
}

struct Case {
  int64_t ranks = 2;
  int64_t parts = 1;
  at::ScalarType type = at::kFloat;
};

void backward(const Stack& model, WeightShards& shards, const Mesh& mesh, const Case& c) {
  const int64_t rows = kRows / c.ranks;
  for (int64_t part = 0; part < c.parts; ++part) {
    const int64_t begin = part * kRows + mesh.rank() * rows;
    shards.before_backward(part + 1 == c.parts);
    const at::Device device = model.parameters.values.front().device();
    const at::Tensor x = inputs(begin, rows).to(device), y = targets(begin, rows).to(device);
    (model.loss(x, y, &shards) / static_cast<double>(c.parts)).backward();
  }
}

/// Every parameter's gradient, from the rank that owns it, of the second of two equal steps.
std::vector<at::Tensor> sharded_gradients(const Case& c) {
  std::vector<at::Tensor> gradients(Stack().parameters.values.size());
  std::mutex mutex;
  run_as_threads({.data = c.ranks}, [&](Mesh& mesh) {
    const Stack model;
    WeightShards shards(model.parameters, mesh.data(), {.gradients = c.type});
    for (int step = 0; step < 2; ++step) {
      backward(model, shards, mesh, c);
      shards.reduce_gradients();
      shards.gather_weights();
      shards.wait_for_weights();
    }
    const std::lock_guard lock(mutex);
    for (size_t i = 0; i < gradients.size(); ++i) {
      EXPECT_FALSE(model.parameters.values[i].grad().defined());
      if (!shards.owns(i)) continue;
      EXPECT_FALSE(gradients[i].defined()) << "parameter " << i << " has two owners";
      gradients[i] = shards.owned()[i].grad().clone();
    }
  });
  return gradients;
}

TEST(WeightShards, GradientsAreThoseOfOneProcessWithTheSameGlobalBatch) {
  for (const Case& c : {Case{}, Case{.ranks = 4}, Case{.parts = 3}, Case{.ranks = 4, .parts = 2},
                        Case{.ranks = 1, .parts = 2}}) {
    const std::vector<at::Tensor> want = single_gradients(c.parts);
    const std::vector<at::Tensor> got = sharded_gradients(c);
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_TRUE(got[i].defined()) << "nobody owns parameter " << i;
      EXPECT_LE(relative_error(got[i], want[i]), 1e-6)
          << "parameter " << i << ", " << c.ranks << " ranks, " << c.parts << " parts";
    }
  }
}

TEST(WeightShards, Bfloat16GradientsAreAsCloseAsTheirTypeAndAddUpInFloat32) {
  const std::vector<at::Tensor> want = single_gradients(4);
  const std::vector<at::Tensor> got = sharded_gradients({.parts = 4, .type = at::kBFloat16});
  double largest = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got[i].scalar_type(), at::kFloat);
    largest = std::max(largest, relative_error(got[i], want[i]));
  }
  EXPECT_LE(largest, 3 * 0x1p-8);  // three roundings of half a unit in the last place, doubled
  EXPECT_GT(largest, 0x1p-13) << "it travelled in float32";
}

TEST(WeightShards, TwiceTheSameBits) {
  for (const Case& c : {Case{.parts = 2}, Case{.ranks = 4}}) {
    const std::vector<at::Tensor> first = sharded_gradients(c), second = sharded_gradients(c);
    for (size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(first[i].equal(second[i]));
  }
}

TEST(WeightShards, AParameterWithoutAGradientOnSomeRanksCountsAsZeroThere) {
  run_as_threads({.data = 2}, [](Mesh& mesh) {
    const Stack model;
    const size_t vector = kOfUnit * kUnits;
    WeightShards shards(model.parameters, mesh.data());
    shards.before_backward(true);
    model.loss(inputs(0, 4), targets(0, 4), &shards, mesh.first()).backward();
    shards.reduce_gradients();
    if (!shards.owns(vector)) return;
    const Stack alone;
    alone.loss(inputs(0, 4), targets(0, 4)).backward();
    const at::Tensor want = alone.parameters.values[vector].grad() / 2;
    EXPECT_LE(relative_error(shards.owned()[vector].grad(), want), 1e-6);
  });
}

// Of two micro-batches the sum where each one's gradients leave by themselves.
TEST(WeightShards, TellsWhatThisRankAloneGave) {
  run_as_threads({.data = 2}, [](Mesh& mesh) {
    const Case c{.parts = 2};
    const Stack model;
    WeightShards shards(model.parameters, mesh.data());
    backward(model, shards, mesh, c);
    shards.reduce_gradients();
    std::vector<double> want(model.parameters.values.size());
    const Stack both;
    for (const int64_t part : {0, 1}) {
      const int64_t begin = part * kRows + mesh.rank() * kRows / 2;
      const at::Tensor x = inputs(begin, kRows / 2), y = targets(begin, kRows / 2);
      const Stack one;
      for (const Stack* model_alone : {&one, &both}) (model_alone->loss(x, y) / 4).backward();
      for (size_t i = 0; i < want.size(); ++i) {
        want[i] += one.parameters.values[i].grad().norm().item<double>();
      }
    }
    for (size_t i = 0; i < want.size(); ++i) {
      if (model.parameters.units[i] != UnitParameters::kResident) continue;
      want[i] = both.parameters.values[i].grad().norm().item<double>();
    }
    const at::Tensor& norms = shards.own_norms();
    ASSERT_EQ(norms.numel(), static_cast<int64_t>(want.size()));
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_NEAR(norms[static_cast<int64_t>(i)].item<double>(), want[i], 1e-6 * want[i]) << i;
    }
  });
}

// Every collective on a GPU's own stream, the hooks on the threads of its backward().
TEST(WeightShards, GradientsOnTwoGpusAreThoseOfOneProcess) {
  const int64_t gpus = at::hasCUDA() ? static_cast<int64_t>(at::getNumGPUs()) : 0;
  if (gpus < 2) GTEST_SKIP() << "needs two GPUs";
  const Case c{.parts = 3};
  const std::vector<at::Tensor> want = single_gradients(c.parts);
  const StoreServer server;
  std::vector<std::jthread> threads;
  for (int64_t rank = 0; rank < c.ranks; ++rank) {
    threads.emplace_back([&, rank] {
      const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(rank));
      const Launch launch{.rank = rank,
                          .ranks = c.ranks,
                          .local_rank = rank,
                          .local_ranks = c.ranks,
                          .address = "127.0.0.1",
                          .port = server.port(),
                          .agent_store = true};
      const auto mesh = Mesh::join(launch, {.shape = {.data = c.ranks}, .device = device});
      const Stack model(5, device);
      WeightShards shards(model.parameters, mesh->data());
      backward(model, shards, *mesh, c);
      shards.reduce_gradients();
      for (size_t i = 0; i < want.size(); ++i) {
        if (!shards.owns(i)) continue;
        EXPECT_LE(relative_error(shards.owned()[i].grad().cpu(), want[i]), 1e-5) << i;
      }
    });
  }
}

bool is_here(const at::Tensor& parameter) { return !parameter.isnan().any().item<bool>(); }

TEST(WeightShards, AUnitIsHereOnlyWhileItRuns) {
  run_as_threads({.data = 2}, [](Mesh& mesh) {
    const Stack model;
    const auto& p = model.parameters.values;
    const auto here = [&] {
      std::vector<bool> units;
      for (size_t i = 1; i + 1 < p.size(); i += kOfUnit) units.push_back(is_here(p[i]));
      return units;
    };
    using Here = std::vector<bool>;
    WeightShards shards(model.parameters, mesh.data());
    EXPECT_EQ(here(), (Here{false, false, false}));
    EXPECT_TRUE(is_here(p.front()) && is_here(p.back()));
    shards.before_backward(false);
    shards.bring(0, false);
    EXPECT_EQ(here(), (Here{true, false, false}));
    EXPECT_TRUE(p[1].equal(Stack().parameters.values[1]));
    shards.release(0, false);
    shards.bring(1, false);
    EXPECT_EQ(here(), (Here{false, true, false}));
    shards.release(1, false);
    shards.bring(2, false);
    shards.release(2, false);
    EXPECT_EQ(here(), (Here{false, false, true})) << "the backward pass begins with it";
    for (const int64_t unit : {2, 1, 0}) {
      shards.bring(unit, true);
      shards.release(unit, true);
    }
    EXPECT_EQ(here(), (Here{true, false, false})) << "the next micro-batch begins with it";
    EXPECT_EQ(p[4].sizes(), Stack().parameters.values[4].sizes()) << "their shapes stay";
    shards.before_backward(true);
    shards.bring(0, true);
    shards.release(0, true);
    EXPECT_EQ(here(), (Here{false, false, false})) << "the weights are about to change";
    shards.reduce_gradients();
  });
}

TEST(WeightShards, ChangedWeightsReachEveryRank) {
  run_as_threads({.data = 3}, [](Mesh& mesh) {
    const Stack model, before;
    const auto& p = model.parameters.values;
    WeightShards shards(model.parameters, mesh.data());
    for (int round = 1; round <= 2; ++round) {
      {
        const at::NoGradGuard no_grad;
        for (size_t i = 0; i < p.size(); ++i) {
          if (shards.owns(i)) shards.owned()[i].add_(static_cast<double>(i) + 1);
        }
      }
      shards.gather_weights();
      shards.wait_for_weights();
      for (int64_t unit = UnitParameters::kResident; unit < 3; ++unit) {
        shards.bring(unit, false);
        for (size_t i = 0; i < p.size(); ++i) {
          if (model.parameters.units[i] != unit) continue;
          at::Tensor want = before.parameters.values[i].detach();
          for (int n = 0; n < round; ++n) want = want + static_cast<double>(i + 1);
          EXPECT_TRUE(p[i].equal(want)) << "parameter " << i << " after " << round;
        }
        shards.release(unit, false);
      }
      EXPECT_FALSE(is_here(p[1]));
    }
  });
}

// So that no rank ever needs all weights; and a checkpoint is read while the ranks still connect.
TEST(WeightShards, OfParametersWithoutMemoryTheOwnersWriteThemAndNobodyWaits) {
  std::latch built(1);
  run_as_threads({.data = 2}, [&](Mesh& mesh) {
    if (mesh.first()) built.wait();
    const Stack want;
    Stack model;
    for (at::Tensor& p : model.parameters.values) {
      p = at::full({1}, 7.0).expand(p.sizes()).requires_grad_();
    }
    const auto& p = model.parameters.values;
    WeightShards shards(model.parameters, mesh.data());
    if (!mesh.first()) built.count_down();
    {
      const at::NoGradGuard no_grad;
      for (size_t i = 0; i < p.size(); ++i) {
        if (!shards.owns(i)) continue;
        EXPECT_EQ(shards.owned()[i].sum().item<double>(), 7.0 * static_cast<double>(p[i].numel()));
        shards.owned()[i].copy_(want.parameters.values[i]);
      }
    }
    shards.gather_weights();
    shards.wait_for_weights();
    for (int64_t unit = UnitParameters::kResident; unit < kUnits; ++unit) {
      shards.bring(unit, false);
      for (size_t i = 0; i < p.size(); ++i) {
        if (model.parameters.units[i] != unit) continue;
        EXPECT_TRUE(p[i].equal(want.parameters.values[i])) << "parameter " << i;
      }
      shards.release(unit, false);
    }
    backward(model, shards, mesh, {});
    shards.reduce_gradients();
    const std::vector<at::Tensor> gradients = single_gradients(1);
    for (size_t i = 0; i < p.size(); ++i) {
      if (!shards.owns(i)) continue;
      EXPECT_LE(relative_error(shards.owned()[i].grad(), gradients[i]), 1e-6) << i;
    }
  });
}

// Forward passes of an evaluation: the first unit is under way while the last one runs.
TEST(WeightShards, UnitsComeOverAndOverBetweenSteps) {
  run_as_threads({.data = 2}, [](Mesh& mesh) {
    const Stack model;
    const auto& p = model.parameters.values;
    WeightShards shards(model.parameters, mesh.data());
    shards.gather_weights();
    shards.wait_for_weights();
    std::set<const void*> memory;
    for (int pass = 0; pass < 3; ++pass) {
      for (int64_t unit = 0; unit < 3; ++unit) {
        shards.bring(unit, false);
        memory.insert(p[static_cast<size_t>(1 + kOfUnit * unit)].storage().data());
        for (size_t i = 0; i < p.size(); ++i) {
          const int64_t of = model.parameters.units[i];
          EXPECT_EQ(is_here(p[i]), of == unit || of == UnitParameters::kResident)
              << "parameter " << i << " in unit " << unit;
        }
        shards.release(unit, false);
      }
    }
    EXPECT_EQ(memory.size(), 2U) << "one for the unit that runs, one for the next";
  });
}

TEST(WeightShards, RefusesAGradientFromOutsideOfItsUnit) {
  const auto run = [](Mesh& mesh) {
    const Stack model;
    WeightShards shards(model.parameters, mesh.data());
    shards.before_backward(true);
    for (int64_t unit = 0; unit < 3; ++unit) {
      shards.bring(unit, false);
      if (model.parameters.units[1] == unit) model.parameters.values[1].sum().backward();
      shards.release(unit, false);
    }
    shards.reduce_gradients();
  };
  EXPECT_THROW(run_as_threads({.data = 2}, run), c10::Error);
}

TEST(WeightShards, EveryRankKeepsItsShareAndNoMore) {
  int64_t kept = 0, most = 0, all = 0;
  std::mutex mutex;
  run_as_threads({.data = 4}, [&](Mesh& mesh) {
    const Stack model;
    const WeightShards shards(model.parameters, mesh.data());
    const std::lock_guard lock(mutex);
    kept += shards.owned_bytes();
    most = std::max(most, shards.owned_bytes());
  });
  for (const at::Tensor& p : Stack().parameters.values) all += static_cast<int64_t>(p.nbytes());
  EXPECT_EQ(kept, all);
  EXPECT_LT(static_cast<double>(most), 0.32 * static_cast<double>(all));
}

}  // namespace
}  // namespace praxino
