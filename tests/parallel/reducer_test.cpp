// c10d's own data parallelism as an independent oracle for ours.
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <mutex>
#include <thread>

#include "parallel/sample_model.h"
#include "praxino/parallel/data_parallel.h"
#include "praxino/parallel/mesh.h"

namespace praxino {
namespace {

using testing::inputs;
using testing::relative_error;
using testing::SampleModel;
using testing::targets;

constexpr int64_t kRows = 4;  // of a rank

c10::intrusive_ptr<c10d::ProcessGroup> make_group(const c10::intrusive_ptr<c10d::Store>& store,
                                                  int rank, int ranks) {
  auto options = c10d::ProcessGroupGloo::Options::create(std::chrono::minutes(4));
  options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  const auto backend =
      c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, ranks, std::move(options));
  auto group = c10::make_intrusive<c10d::ProcessGroup>(store, rank, ranks);
  group->setBackend(at::kCPU, c10d::ProcessGroup::BackendType::GLOO, backend);
  group->setDefaultBackend(c10d::ProcessGroup::BackendType::GLOO);
  group->setGroupName("oracle");
  backend->setGroupUid("oracle");
  // LibTorch's record of collectives enters a group at its first one into a map of the process that
  // has no lock: one after the other, and all before anybody goes on.
  std::vector<at::Tensor> values = {at::zeros({1})};
  c10::intrusive_ptr<c10d::Work> first;
  {
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    first = backend->allreduce(values, c10d::AllreduceOptions());
  }
  first->wait();
  return group;
}

/// Averages over the ranks by c10d::Reducer, the same on every rank.
std::vector<at::Tensor> reducer_gradients(int ranks) {
  const auto store = c10::make_intrusive<c10d::HashStore>();
  std::vector<at::Tensor> gradients;
  std::vector<std::jthread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      const SampleModel model;
      std::vector<size_t> all;
      for (size_t i = 0; i < model.parameters.size(); ++i) all.push_back(i);
      c10d::Reducer reducer(model.parameters, {all}, make_group(store, rank, ranks),
                            std::vector<bool>(all.size(), false), int64_t{1} << 20, false, false,
                            {}, int64_t{1} << 20, false, false, {});
      reducer.prepare_for_forward();
      const at::Tensor loss = model.loss(inputs(rank * kRows, kRows), targets(rank * kRows, kRows));
      reducer.prepare_for_backward({loss});
      loss.backward();
      if (rank != 0) return;
      for (const at::Tensor& p : model.parameters) gradients.push_back(p.grad().clone());
    });
  }
  threads.clear();
  return gradients;
}

TEST(Reducer, GivesTheGradientsThatDataParallelGives) {
  for (const int ranks : {2, 4}) {
    const std::vector<at::Tensor> want = reducer_gradients(ranks);
    ASSERT_EQ(want.size(), SampleModel().parameters.size());
    run_as_threads({.data = ranks}, [&](Mesh& mesh) {
      const SampleModel model;
      DataParallel parallel(model.parameters, mesh.data(), {.bucket_bytes = 2000});
      parallel.before_backward(true);
      const int64_t begin = mesh.rank() * kRows;
      model.loss(inputs(begin, kRows), targets(begin, kRows)).backward();
      parallel.reduce_gradients();
      for (size_t i = 0; i < want.size(); ++i) {
        if (!parallel.owns(i)) continue;
        EXPECT_LE(relative_error(parallel.owned()[i].grad(), want[i]), 1e-6) << "parameter " << i;
      }
    });
  }
}

}  // namespace
}  // namespace praxino
