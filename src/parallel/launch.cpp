#include "praxino/parallel/launch.h"

#include <charconv>
#include <initializer_list>
#include <optional>

#include "praxino/base/error.h"

namespace praxino {
namespace {

constexpr int64_t kDefaultPort = 29500;  // as torchrun's
constexpr int64_t kFirstJobPort = 20000;
constexpr int64_t kJobPorts = 10000;
constexpr const char* kThisMachine = "127.0.0.1";

/// The variables of one process, read with complaints that name them.
class Variables {
 public:
  explicit Variables(const Environment& environment) : environment_(environment) {}

  std::string text(const char* name) const {
    const char* value = environment_(name);
    return value == nullptr ? "" : value;
  }

  std::optional<int64_t> number(const char* name) const {
    const std::string value = text(name);
    if (value.empty()) return std::nullopt;
    int64_t parsed = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
    if (error != std::errc() || end != value.data() + value.size() || parsed < 0) {
      fail_usage("the environment variable {} is '{}', a whole number from 0 was expected", name,
                 value);
    }
    return parsed;
  }

  /// The first that is set.
  std::optional<int64_t> number(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      if (const std::optional<int64_t> value = number(name)) return value;
    }
    return std::nullopt;
  }

  /// Both or neither; a rank without a world, or the reverse, is a launcher half seen.
  std::optional<std::pair<int64_t, int64_t>> pair(const char* rank, const char* ranks) const {
    const std::optional<int64_t> a = number(rank);
    const std::optional<int64_t> b = number(ranks);
    if (!a && !b) return std::nullopt;
    if (!a || !b) {
      fail_usage(
          "the environment has {} without {}; start praxino through its launcher, or unset "
          "the variable",
          a ? rank : ranks, a ? ranks : rank);
    }
    return std::pair(*a, *b);
  }

 private:
  const Environment& environment_;
};

void set_store(Launch& launch, const Variables& variables) {
  const std::string address = variables.text("MASTER_ADDR");
  if (!address.empty()) launch.address = address;
  if (const std::optional<int64_t> port = variables.number("MASTER_PORT")) launch.port = *port;
  if (launch.port == 0) launch.port = kDefaultPort;
  if (launch.address.empty() && launch.local_ranks == launch.ranks) launch.address = kThisMachine;
}

std::optional<Launch> torchrun(const Variables& v) {
  const auto place = v.pair("RANK", "WORLD_SIZE");
  if (!place) return std::nullopt;
  Launch launch{.launcher = "torchrun", .rank = place->first, .ranks = place->second};
  if (v.text("TORCHELASTIC_RUN_ID") == kSpawnedRun) launch.launcher = "--ranks";
  launch.local_rank = v.number("LOCAL_RANK").value_or(0);
  launch.local_ranks = v.number("LOCAL_WORLD_SIZE").value_or(1);
  launch.restart = v.number("TORCHELASTIC_RESTART_COUNT").value_or(0);
  launch.agent_store = v.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  set_store(launch, v);
  return launch;
}

/// Inside an allocation of Slurm, mpirun's own machines are not told; the first node's name is.
std::string first_node(const Variables& v) {
  for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"}) {
    const std::string list = v.text(name);
    if (!list.empty()) return expand_nodes(list).front();
  }
  return {};
}

int64_t job_port(const Variables& v) {
  const std::optional<int64_t> job = v.number({"SLURM_JOB_ID", "SLURM_JOBID"});
  return job ? kFirstJobPort + *job % kJobPorts : 0;
}

std::optional<Launch> open_mpi(const Variables& v) {
  const auto place = v.pair("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
  if (!place) return std::nullopt;
  const std::optional<int64_t> pmix = v.number("PMIX_RANK");
  if (pmix && *pmix != place->first) {
    fail_usage(
        "OMPI_COMM_WORLD_RANK is {} and PMIX_RANK is {}: two launchers, one inside the "
        "other; start praxino through one of them",
        place->first, *pmix);
  }
  Launch launch{.launcher = "Open MPI", .rank = place->first, .ranks = place->second};
  launch.local_rank =
      v.number({"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_NODE_RANK"}).value_or(0);
  launch.local_ranks = v.number("OMPI_COMM_WORLD_LOCAL_SIZE").value_or(1);
  launch.address = launch.local_ranks == launch.ranks ? kThisMachine : first_node(v);
  launch.port = job_port(v);
  set_store(launch, v);
  return launch;
}

std::optional<Launch> slurm(const Variables& v) {
  const std::optional<int64_t> rank = v.number("SLURM_PROCID");
  const std::optional<int64_t> ranks = v.number({"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"});
  // An allocation without a task of its own (salloc's shell) is no launch.
  if (!rank || !ranks) return std::nullopt;
  Launch launch{.launcher = "Slurm", .rank = *rank, .ranks = *ranks};
  launch.local_rank = v.number("SLURM_LOCALID").value_or(0);
  const int64_t node = v.number("SLURM_NODEID").value_or(0);
  const int64_t nodes = v.number({"SLURM_STEP_NUM_NODES", "SLURM_JOB_NUM_NODES"}).value_or(1);
  std::string tasks = v.text("SLURM_STEP_TASKS_PER_NODE");
  if (tasks.empty()) tasks = v.text("SLURM_TASKS_PER_NODE");
  launch.local_ranks = !tasks.empty() ? tasks_on_node(tasks, node)
                       : nodes == 1   ? launch.ranks
                                      : launch.local_rank + 1;
  launch.restart = v.number("SLURM_RESTART_COUNT").value_or(0);
  launch.address = nodes == 1 ? kThisMachine : first_node(v);
  launch.port = job_port(v);
  set_store(launch, v);
  return launch;
}

std::optional<Launch> other_mpi(const Variables& v) {
  const auto place = v.pair("PMI_RANK", "PMI_SIZE");
  if (!place) return std::nullopt;
  Launch launch{.launcher = "MPI", .rank = place->first, .ranks = place->second};
  launch.local_rank = v.number({"MPI_LOCALRANKID", "PMI_LOCAL_RANK"}).value_or(0);
  launch.local_ranks = v.number({"MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"}).value_or(1);
  launch.address = launch.local_ranks == launch.ranks ? kThisMachine : first_node(v);
  launch.port = job_port(v);
  set_store(launch, v);
  return launch;
}

void check(const Launch& launch) {
  if (launch.ranks < 1 || launch.rank >= launch.ranks) {
    fail_usage(
        "{} says that this is rank {} of {} ranks: its environment variables contradict "
        "each other",
        launch.launcher, launch.rank, launch.ranks);
  }
  if (launch.local_ranks > launch.ranks || launch.local_rank >= launch.local_ranks) {
    fail_usage(
        "{} says that this is rank {} of the {} on this machine, and of {} in all: its "
        "environment variables contradict each other",
        launch.launcher, launch.local_rank, launch.local_ranks, launch.ranks);
  }
  if (launch.port < 1 || launch.port > 65535) {
    fail_usage("MASTER_PORT is {}; a port lies between 1 and 65535", launch.port);
  }
}

}  // namespace

Launch find_launch(const Environment& environment) {
  const Variables variables(environment);
  for (const auto& read : {torchrun, open_mpi, slurm, other_mpi}) {
    if (std::optional<Launch> launch = read(variables)) {
      check(*launch);
      return std::move(*launch);
    }
  }
  return {};
}

}  // namespace praxino
