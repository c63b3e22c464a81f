#include "praxino/parallel/mesh.h"

#include <ATen/Context.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cmath>
#include <latch>
#include <thread>

#include "praxino/base/progress.h"
#include "support/error_text.h"

namespace praxino {
namespace {

using ::testing::HasSubstr;

TEST(Mesh, PlacesAndRanksAreInverse) {
  constexpr MeshShape kShape{.data = 3, .context = 2, .tensor = 4};
  for (int64_t rank = 0; rank < kShape.ranks(); ++rank) {
    EXPECT_EQ(mesh_rank(kShape, mesh_place(kShape, rank)), rank);
  }
  static_assert(mesh_place(kShape, 1) == MeshPlace{.data = 0, .context = 0, .tensor = 1});
  static_assert(mesh_place(kShape, 23) == MeshPlace{.data = 2, .context = 1, .tensor = 3});
}

TEST(Mesh, EveryAxisJoinsTheRanksThatDifferInItAlone) {
  const MeshShape shape{.data = 2, .context = 2, .tensor = 2};
  run_as_threads(shape, [&](Mesh& mesh) {
    const auto sum = [&](const Communicator& group) {
      const at::Tensor bit = at::full({1}, static_cast<double>(int64_t{1} << mesh.rank()));
      group.all_reduce(bit).wait();
      return bit.item<int64_t>();
    };
    const MeshPlace p = mesh.place();
    const auto bit = [&](const MeshPlace& place) { return int64_t{1} << mesh_rank(shape, place); };
    EXPECT_EQ(sum(mesh.data()), bit({0, p.context, p.tensor}) + bit({1, p.context, p.tensor}));
    EXPECT_EQ(sum(mesh.context()), bit({p.data, 0, p.tensor}) + bit({p.data, 1, p.tensor}));
    EXPECT_EQ(sum(mesh.tensor()), bit({p.data, p.context, 0}) + bit({p.data, p.context, 1}));
    EXPECT_EQ(sum(mesh.replicas()), p.tensor == 0 ? 0b01010101 : 0b10101010);
    EXPECT_EQ(sum(mesh.all()), 255);
    EXPECT_EQ(sum(mesh.world()), 255);
    EXPECT_EQ(mesh.tensor().rank(), p.tensor);
  });
}

TEST(Mesh, AloneIsAWorldOfOne) {
  const auto mesh = Mesh::alone();
  EXPECT_TRUE(mesh->first());
  EXPECT_EQ(mesh->ranks(), 1);
  mesh->world().barrier();
}

/// Joins over TCP, as processes do.
std::unique_ptr<Mesh> join(int64_t rank, int64_t ranks, int64_t port, double seconds,
                           const at::Device& device = at::Device(at::kCPU)) {
  const Launch launch{.rank = rank,
                      .ranks = ranks,
                      .local_rank = rank,
                      .local_ranks = ranks,
                      .address = "127.0.0.1",
                      .port = port,
                      .agent_store = true};
  return Mesh::join(launch, {.shape = {.data = ranks}, .device = device, .join_seconds = seconds});
}

TEST(Mesh, JoinsThroughAStoreThatTheLauncherHosts) {
  const StoreServer server;
  std::vector<std::jthread> threads;
  for (int64_t rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      const auto mesh = join(rank, 3, server.port(), 60);
      const at::Tensor one = at::full({1}, 1.0);
      mesh->data().all_reduce(one).wait();
      EXPECT_EQ(one.item<double>(), 3);
    });
  }
}

// A thread that saves must not wait for hours for a rank that hangs: the process would not end.
TEST(Mesh, WaitsInTheBackgroundUntilACollectiveFails) {
  const StoreServer server;
  std::latch done(1);
  std::string told;
  const auto run = [&](int64_t rank) {
    const Launch launch{.rank = rank,
                        .ranks = 2,
                        .local_rank = rank,
                        .local_ranks = 2,
                        .address = "127.0.0.1",
                        .port = server.port(),
                        .agent_store = true};
    const auto mesh = Mesh::join(launch, {.shape = {.data = 2}, .silence_seconds = 0.3});
    if (rank == 1) return done.wait();  // hangs
    {
      const std::jthread saves(
          [&] { told = testing::error_text([&] { mesh->background().all_gather_text("x"); }); });
      const at::Tensor one = at::full({1}, 1.0);
      EXPECT_NE(testing::error_text([&] { mesh->data().all_reduce(one).wait(); }), "(no error)");
    }
    done.count_down();
  };
  { const std::jthread first(run, 0), second(run, 1); }
  EXPECT_THAT(told, HasSubstr("of the group 'background'"));
  EXPECT_THAT(told, HasSubstr("the ranks no longer go on: rank 0: all_reduce"));
}

TEST(Mesh, WaitsNoLongerThanItIsTold) {
  std::latch done(1);
  std::string told;
  run_as_threads({.data = 2}, [&](Mesh& mesh) {
    if (mesh.rank() == 1) return done.wait();  // hangs
    EXPECT_EQ(mesh.silence(), std::chrono::minutes(10));
    const at::Tensor one = at::full({1}, 1.0);
    told = testing::error_text(
        [&] { mesh.world().all_reduce(one).wait(std::chrono::milliseconds(50)); });
    done.count_down();
  });
  EXPECT_THAT(told, HasSubstr("rank 0: all_reduce (number 1 of the group 'world'"));
  EXPECT_THAT(told, HasSubstr("rank 1 has not entered it"));
}

/// What two ranks have waited of which the second comes late, by rank.
struct Waited {
  std::array<double, 2> data{}, world{}, passed{};
};
Waited with_a_late_rank() {
  constexpr std::chrono::milliseconds kLate{200};
  std::latch waiting(1);
  Waited seen;
  run_as_threads({.data = 2}, [&](Mesh& mesh) {
    const auto rank = static_cast<size_t>(mesh.rank());
    const at::Tensor one = at::full({1}, 1.0);
    mesh.world().all_reduce(one).wait();
    const auto before = mesh.waited();
    if (rank == 1) {
      waiting.wait();
      std::this_thread::sleep_for(kLate);
    }
    Pending pending = mesh.data().all_reduce(one);
    if (rank == 0) waiting.count_down();
    const double begin = monotonic_seconds();
    pending.wait();
    seen.passed[rank] = monotonic_seconds() - begin;
    const auto after = mesh.waited();
    ASSERT_EQ(after.size(), 2U);  // the other axes have one rank
    EXPECT_EQ(after[0].first, "world");
    EXPECT_EQ(after[1].first, "data");
    seen.world[rank] = after[0].second - before[0].second;
    seen.data[rank] = after[1].second - before[1].second;
  });
  return seen;
}

TEST(Mesh, KnowsHowLongEachGroupHasLetItWait) {
  bool told = false;
  for (int i = 0; i < 20 && !told; ++i) {  // a rank that gets no time in between waits otherwise
    const Waited seen = with_a_late_rank();
    for (const size_t rank : {0, 1}) {
      EXPECT_GT(seen.data[rank], 0);
      EXPECT_LE(seen.data[rank], seen.passed[rank]);
      EXPECT_EQ(seen.world[rank], 0);
    }
    told = seen.data[0] > 0.1 && seen.data[1] < seen.data[0];
  }
  EXPECT_TRUE(told);
  EXPECT_TRUE(Mesh::alone()->waited().empty());
}

TEST(Mesh, JoinsGpusOverNccl) {
  const int64_t gpus = at::hasCUDA() ? static_cast<int64_t>(at::getNumGPUs()) : 0;
  if (gpus < 2) GTEST_SKIP() << "needs two GPUs";
  const StoreServer server;
  std::vector<std::jthread> threads;
  for (int64_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      const at::Device device(at::kCUDA, static_cast<at::DeviceIndex>(rank));
      const auto mesh = join(rank, 2, server.port(), 60, device);
      const auto floats = at::TensorOptions().device(device);
      for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
        const at::Tensor in = at::full({6}, static_cast<double>(rank + 1), floats.dtype(type));
        const at::Tensor slice = at::full({3}, std::nan(""), floats.dtype(type));
        mesh->data().reduce_scatter(slice, in).wait();
        EXPECT_EQ(slice.sum().item<double>(), 9);
        const at::Tensor all = at::full({6}, std::nan(""), floats.dtype(type));
        mesh->data().all_gather(all, slice).wait();
        EXPECT_EQ(all.sum().item<double>(), 18);
        const std::vector<int64_t> begins = {0, 1, 6};
        const at::Tensor flat = at::full({6}, static_cast<double>(rank + 1), floats.dtype(type));
        for (Pending& pending : mesh->data().reduce_segments(flat, begins)) pending.wait();
        flat.narrow(0, rank == 0 ? 1 : 0, rank == 0 ? 5 : 1).fill_(std::nan(""));
        for (Pending& pending : mesh->data().gather_segments(flat, begins)) pending.wait();
        EXPECT_EQ(flat.sum().item<double>(), 18);
      }
    });
  }
}

TEST(Mesh, NamesTheRanksThatDidNotCome) {
  const StoreServer server;
  const std::string text = testing::error_text([&] { join(0, 3, server.port(), 0.2); });
  EXPECT_THAT(text, HasSubstr("2 of 3 ranks did not come"));
  EXPECT_THAT(text, HasSubstr("1, 2"));
}

TEST(Mesh, DoesNotWaitForARankThatHasEnded) {
  const StoreServer server;
  server.tell_end(0, 2, "was ended by signal 9 (Killed)");
  EXPECT_THAT(testing::error_text([&] { join(0, 3, server.port(), 3600); }),
              HasSubstr("rank 2 was ended by signal 9 (Killed) before all ranks had come"));
}

TEST(Mesh, RefusesAShapeThatIsNotTheWorld) {
  const Launch launch{.ranks = 6, .local_ranks = 6, .address = "127.0.0.1", .port = 1};
  EXPECT_THAT(testing::error_text([&] { Mesh::join(launch, {.shape = {.data = 2, .tensor = 2}}); }),
              HasSubstr("needs 4 ranks, and 6 were started"));
}

TEST(Mesh, AsksForTheAddressThatNoLauncherNames) {
  const Launch launch{.launcher = "MPI", .ranks = 2};
  EXPECT_THAT(testing::error_text([&] { Mesh::join(launch, {.shape = {.data = 2}}); }),
              HasSubstr("set MASTER_ADDR"));
}

}  // namespace
}  // namespace praxino
