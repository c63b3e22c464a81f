#include "praxino/parallel/mesh.h"

#include <ATen/Parallel.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <future>
#include <map>
#include <optional>
#include <thread>

#include "parallel/group.h"
#include "parallel/host_address.h"
#include "parallel/nccl.h"
#include "praxino/base/error.h"
#include "praxino/base/first_line.h"
#include "praxino/base/log.h"
#include "praxino/base/open_files.h"

namespace praxino {
namespace {

using StorePtr = c10::intrusive_ptr<c10d::Store>;
using std::chrono::milliseconds;

milliseconds to_milliseconds(double seconds) {
  return milliseconds(static_cast<int64_t>(seconds * 1000));
}

/// One number for each rank from 0.
std::vector<int64_t> all_ranks(int64_t ranks) {
  std::vector<int64_t> members;
  for (int64_t r = 0; r < ranks; ++r) members.push_back(r);
  return members;
}

/// Of the keys of a launcher's start number `restart`: a world that was started again must not read
/// what the one before it wrote.
std::string world_prefix(int64_t restart) { return fmt::format("praxino/{}", restart); }

/// Which axes the ranks of a group differ in.
struct Axes {
  bool data = false, context = false, tensor = false;
};

/// The ranks of the world that share every coordinate of `place` but those of `axes`, ascending.
std::vector<int64_t> members_of(const MeshShape& shape, const MeshPlace& place, const Axes& axes) {
  std::vector<int64_t> members;
  for (int64_t rank = 0; rank < shape.ranks(); ++rank) {
    const MeshPlace other = mesh_place(shape, rank);
    if ((axes.data || other.data == place.data) &&
        (axes.context || other.context == place.context) &&
        (axes.tensor || other.tensor == place.tensor)) {
      members.push_back(rank);
    }
  }
  return members;
}

// A rank has a connection to every other for each group of all ranks, of which there are up to
// three, and the one that hosts the store three more from each. Beside them: data, checkpoints,
// NCCL.
void allow_connections(const Launch& launch) {
  constexpr int64_t kEach = 6, kBeside = 512;
  const int64_t wanted = kEach * launch.ranks + kBeside, allowed = allow_open_files(wanted);
  if (allowed >= wanted || launch.local_rank != 0) return;
  log::warning(
      "{} ranks may need up to {} open files and connections each, and this machine allows a "
      "process {} (ulimit -Hn): raise that limit where ranks fail to connect or to read",
      launch.ranks, wanted, allowed);
}

/// Waits until every rank has said that it is here, so that those who did not come can be named.
void gather_ranks(const StorePtr& store, const Launch& launch, double seconds) {
  const auto key = [](int64_t rank) { return fmt::format("here/{}", rank); };
  store->set(key(launch.rank), "1");
  const auto until = std::chrono::steady_clock::now() + to_milliseconds(seconds);
  if (launch.rank != 0) {
    store->wait({"all_here"}, to_milliseconds(seconds + 5));
    return;
  }
  std::vector<int64_t> missing = all_ranks(launch.ranks);
  while (true) {
    std::erase_if(missing, [&](int64_t rank) { return store->check({key(rank)}); });
    if (missing.empty()) break;
    for (const int64_t rank : missing) {
      if (!store->check({ended_key(rank)})) continue;
      const std::vector<uint8_t> how = store->get(ended_key(rank));
      fail("rank {} {} before all ranks had come", rank, std::string(how.begin(), how.end()));
    }
    if (std::chrono::steady_clock::now() > until) {
      fail(
          "{} of {} ranks did not come within {:.0f} s: {}; look at their logs (under Slurm, is "
          "praxino started by srun?)",
          missing.size(), launch.ranks, seconds, fmt::join(missing, ", "));
    }
    std::this_thread::sleep_for(milliseconds(5));
  }
  store->set("all_here", "1");
}

/// By which address the others reach this machine over Gloo: that from which it reaches the store.
/// The machine's own name, which Gloo would look up, often means 127.0.1.1 or costs a question to a
/// name server that nobody answers.
std::string gloo_address(const Launch& launch) {
  if (std::getenv("GLOO_SOCKET_IFNAME") != nullptr) return {};
  std::string address = own_address_towards(launch.address);
  return is_loopback(address) && launch.local_ranks < launch.ranks ? std::string() : address;
}

/// However short the wait for the other ranks: the store has this long to answer.
constexpr double kStoreSeconds = 60;

StorePtr connect_store(const Launch& launch, double seconds) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(launch.port);
  options.isServer = launch.rank == 0 && !launch.agent_store;
  options.waitWorkers = false;
  options.timeout = to_milliseconds(std::max(seconds, kStoreSeconds));
  try {
    const auto store = c10::make_intrusive<c10d::TCPStore>(launch.address, options);
    return c10::make_intrusive<c10d::PrefixStore>(world_prefix(launch.restart), store);
  } catch (const std::exception& error) {
    fail("rank {} cannot {} the store at {}:{}: {}; MASTER_ADDR and MASTER_PORT name another place",
         launch.rank, options.isServer ? "open" : "reach", launch.address, launch.port,
         first_line(error));
  }
}

}  // namespace

struct Mesh::State {
  MeshShape shape;
  MeshPlace place;
  std::string address = "127.0.0.1";   // this machine's, for Gloo; empty: Gloo chooses
  std::shared_ptr<Watchdog> watchdog;  // nothing in a world of one
  std::optional<Communicator> world, background, data, context, tensor, replicas, all;
  std::vector<std::pair<std::string, std::shared_ptr<WaitClock>>> waits;
  std::thread connecting;  // the axes

  /// Over Gloo, or over NCCL where the axes' tensors live on a GPU.
  void connect(const StorePtr& store, int64_t rank, const MeshOptions& options,
               const std::string& store_host = "the launcher") {
    shape = options.shape;
    place = mesh_place(shape, rank);
    const milliseconds steady = to_milliseconds(options.silence_seconds);
    const milliseconds first = std::max(steady, to_milliseconds(options.first_silence_seconds));
    const milliseconds joining = std::max(first, to_milliseconds(options.join_seconds));
    if (shape.ranks() > 1) {
      watchdog = std::make_shared<Watchdog>(*store, WatchdogOptions{.rank = rank,
                                                                    .ranks = shape.ranks(),
                                                                    .first = first,
                                                                    .steady = steady,
                                                                    .dumps = options.dumps,
                                                                    .store_host = store_host});
    }
    const auto own = [&](GroupPtr group) {
      if (group->size() == 1) return group;
      group->watchdog = watchdog;
      if (!group->background) {
        group->waits = waits.emplace_back(group->name, std::make_shared<WaitClock>()).second;
      }
      watchdog->add({.name = group->name, .members = group->members, .log = group->log});
      return group;
    };
    const auto everyone = [&](const char* name) {
      GroupPtr group = make_group(store, name, rank, all_ranks(shape.ranks()));
      if (group->size() > 1) {
        connect_gloo(*group, store, address, to_milliseconds(options.patience_seconds));
      }
      group->patient = true;
      return group;
    };
    world.emplace(own(everyone("world")));
    const GroupPtr beside = everyone("background");
    beside->background = true;
    background.emplace(own(beside));
    std::vector<GroupPtr> unconnected;
    std::map<std::vector<int64_t>, Communicator> groups;  // the same ranks connect once
    const auto join = [&](const char* name, const Axes& axes) {
      const std::vector<int64_t> members = members_of(shape, place, axes);
      if (const auto known = groups.find(members); known != groups.end()) return known->second;
      const int64_t own_rank = std::ranges::find(members, rank) - members.begin();
      const GroupPtr group = own(make_group(store, name, own_rank, members));
      if (group->size() > 1) unconnected.push_back(group);
      return groups.emplace(members, Communicator(group)).first->second;
    };
    data = join("data", {.data = true});
    context = join("context", {.context = true});
    tensor = join("tensor", {.tensor = true});
    replicas = join("replicas", {.data = true, .context = true});
    all = join("all", {.data = true, .context = true, .tensor = true});
    if (watchdog) watchdog->start();
    if (!unconnected.empty())
      connect_axes(unconnected, store->clone(), rank, options.device, joining);
  }

  /// On a thread of its own, since NCCL takes its time: meanwhile the trainer opens its data and
  /// builds its model. The first collective of an axis waits for it. `store` is another connection:
  /// one that waits serves nobody else.
  void connect_axes(const std::vector<GroupPtr>& axes, const StorePtr& store, int64_t rank,
                    const at::Device& device, milliseconds limit) {
    std::promise<void> connected;
    const std::shared_future<void> done = connected.get_future();
    for (const GroupPtr& group : axes) group->connecting = done;
    connecting = std::thread([axes, store, rank, ranks = shape.ranks(), device, limit,
                              address = address, connected = std::move(connected)]() mutable {
      try {
        std::optional<NcclWorld> nccl;
        if (device.is_cuda()) {
          c10::impl::VirtualGuardImpl(device.type()).setDevice(device);
          nccl.emplace(store, rank, ranks, device, limit);
        }
        for (const GroupPtr& group : axes) {
          if (nccl) {
            nccl->connect(*group);
          } else {
            connect_gloo(*group, store, address, limit);
          }
        }
        connected.set_value();
      } catch (...) {
        connected.set_exception(std::current_exception());
      }
    });
  }

  ~State() {
    if (connecting.joinable()) {
      if (watchdog->broken()) {  // it may wait for a rank that has ended
        connecting.detach();
      } else {
        connecting.join();
      }
    }
    if (watchdog) watchdog->leave();
  }
};

Mesh::Mesh(std::unique_ptr<State> state) : state_(std::move(state)) {}
Mesh::~Mesh() = default;

std::unique_ptr<Mesh> Mesh::alone() {
  auto state = std::make_unique<State>();
  state->connect(nullptr, 0, {});
  return std::make_unique<Mesh>(std::move(state));
}

std::unique_ptr<Mesh> Mesh::planned(const MeshShape& shape, bool over_gloo) {
  auto state = std::make_unique<State>();
  state->shape = shape;
  const auto group = [&](const char* name, const Axes& axes) {
    auto made = std::make_shared<Communicator::Group>();
    made->name = name;
    made->members = members_of(shape, {}, axes);
    made->planned = made->size() > 1;
    made->over_gloo = over_gloo;
    return Communicator(std::move(made));
  };
  constexpr Axes kEvery{.data = true, .context = true, .tensor = true};
  state->world = group("world", kEvery);
  state->background = group("background", kEvery);
  state->data = group("data", {.data = true});
  state->context = group("context", {.context = true});
  state->tensor = group("tensor", {.tensor = true});
  state->replicas = group("replicas", {.data = true, .context = true});
  state->all = group("all", kEvery);
  return std::make_unique<Mesh>(std::move(state));
}

std::unique_ptr<Mesh> Mesh::join(const Launch& launch, const MeshOptions& options) {
  if (options.shape.ranks() != launch.ranks) {
    fail_usage("a mesh of data {} x context {} x tensor {} needs {} ranks, and {} were started",
               options.shape.data, options.shape.context, options.shape.tensor,
               options.shape.ranks(), launch.ranks);
  }
  if (launch.ranks == 1) return alone();
  if (launch.address.empty()) {
    fail_usage(
        "{} started {} ranks on several machines and none of its variables names the first: "
        "set MASTER_ADDR to that machine's name (mpirun: -x MASTER_ADDR=...)",
        launch.launcher, launch.ranks);
  }
  allow_connections(launch);
  const StorePtr store = connect_store(launch, options.join_seconds);
  auto state = std::make_unique<State>();
  state->address = gloo_address(launch);
  try {
    gather_ranks(store, launch, options.join_seconds);
    state->connect(store, launch.rank, options, launch.agent_store ? "the launcher" : "rank 0");
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fail("rank {} of {} cannot connect to the others: {}", launch.rank, launch.ranks,
         first_line(error));
  }
  return std::make_unique<Mesh>(std::move(state));
}

const MeshShape& Mesh::shape() const { return state_->shape; }
const MeshPlace& Mesh::place() const { return state_->place; }
int64_t Mesh::rank() const { return state_->world->rank(); }
int64_t Mesh::ranks() const { return state_->world->size(); }
std::chrono::milliseconds Mesh::silence() const {
  return state_->watchdog ? state_->watchdog->limit() : milliseconds(0);
}
void Mesh::step_begins(int64_t step) const {
  if (state_->watchdog) state_->watchdog->step_begins(step);
}
void Mesh::step_ends() const {
  if (state_->watchdog) state_->watchdog->step_ends();
}
const Communicator& Mesh::world() const { return *state_->world; }
const Communicator& Mesh::background() const { return *state_->background; }
const Communicator& Mesh::data() const { return *state_->data; }
const Communicator& Mesh::context() const { return *state_->context; }
const Communicator& Mesh::tensor() const { return *state_->tensor; }
const Communicator& Mesh::replicas() const { return *state_->replicas; }
const Communicator& Mesh::all() const { return *state_->all; }

std::vector<std::pair<std::string, double>> Mesh::waited() const {
  std::vector<std::pair<std::string, double>> all;
  for (const auto& [name, clock] : state_->waits) all.emplace_back(name, clock->seconds());
  return all;
}

void Mesh::measure_streams() const {
  for (const auto& [name, clock] : state_->waits) clock->measure_streams();
}

void run_as_threads(const MeshShape& shape, const std::function<void(Mesh&)>& run) {
  const StorePtr store = c10::make_intrusive<c10d::HashStore>();
  const auto ranks = static_cast<size_t>(shape.ranks());
  std::vector<std::exception_ptr> errors(ranks);
  std::vector<int64_t> order(ranks, 0);  // at which place a rank failed
  std::atomic<int64_t> failures = 0;
  {
    std::vector<std::jthread> threads;
    for (size_t rank = 0; rank < ranks; ++rank) {
      threads.emplace_back([&, rank] {
        at::set_num_threads(1);
        try {
          auto state = std::make_unique<Mesh::State>();
          state->connect(store, static_cast<int64_t>(rank), {.shape = shape});
          Mesh mesh(std::move(state));
          run(mesh);
        } catch (...) {
          order[rank] = ++failures;
          errors[rank] = std::current_exception();
        }
      });
    }
  }
  for (size_t rank = 0; rank < ranks; ++rank) {
    if (order[rank] == 1) std::rethrow_exception(errors[rank]);
  }
}

struct StoreServer::State {
  c10::intrusive_ptr<c10d::TCPStore> store;
};

StoreServer::StoreServer() : state_(std::make_unique<State>()) {
  c10d::TCPStoreOptions options;
  options.port = 0;
  options.isServer = true;
  options.waitWorkers = false;
  state_->store = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
}

StoreServer::~StoreServer() = default;

int64_t StoreServer::port() const { return state_->store->getPort(); }

void StoreServer::tell_end(int64_t restart, int64_t rank, const std::string& how) const {
  c10d::PrefixStore world(world_prefix(restart), state_->store);
  world.set(ended_key(rank), std::vector<uint8_t>(how.begin(), how.end()));
}

}  // namespace praxino
