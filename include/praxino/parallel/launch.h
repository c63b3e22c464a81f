#pragma once
// Which rank this process is, as its launcher tells it by environment variables: torchrun, Open
// MPI, Slurm (srun), another MPI, or none. Pure functions of the environment: thread-safe, and
// tests show them launchers that are not at hand.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace praxino {

using Environment = std::function<const char*(const char* name)>;  // as std::getenv

/// TORCHELASTIC_RUN_ID of the ranks that `praxino train --ranks N` starts, which else look to
/// themselves as torchrun's do.
inline constexpr const char* kSpawnedRun = "praxino";

/// One process's place among all ranks of a run.
struct Launch {
  std::string launcher = "none";  // "torchrun", "--ranks", "Open MPI", "Slurm", "MPI", "none"
  int64_t rank = 0;
  int64_t ranks = 1;
  int64_t local_rank = 0;    // among the ranks of this machine: which GPU is its own
  int64_t local_ranks = 1;   // how many share this machine's processors
  std::string address = {};  // of the store through which ranks find each other; empty: one process
  int64_t port = 0;
  bool agent_store = false;  // the launcher hosts the store (torchrun, --ranks), else rank 0 does
  int64_t restart = 0;       // how often the launcher has started this world before
};

/// The launcher that stands nearest to the process wins: torchrun (which srun or mpirun may have
/// started), then Open MPI (which may run inside a Slurm allocation), then Slurm, then PMI (MPICH,
/// Intel MPI). MASTER_ADDR and MASTER_PORT name the store for all of them; without, Slurm's comes
/// from its list of nodes and the job's number, and an MPI world on one machine uses 127.0.0.1; the
/// address stays empty where several machines have no variable that names the first.
/// Throws praxino::Error (wrong usage) for variables that are incomplete or contradict each other.
Launch find_launch(const Environment& environment);

/// The machines of a Slurm node list in order: "node[001-004,007],login" names six, "a[1-2]b[3-4]"
/// four. Throws praxino::Error (wrong usage) for a list that cannot be read or names more than a
/// million.
std::vector<std::string> expand_nodes(std::string_view list);

/// How many tasks Slurm starts on node number `node` by its list, such as "4(x2),3": 4 on nodes 0
/// and 1, 3 on node 2. Throws praxino::Error (wrong usage) as expand_nodes().
int64_t tasks_on_node(std::string_view list, int64_t node);

}  // namespace praxino
