#pragma once
// All ranks of a run as a mesh with the axes data, context and tensor. Tensor is the innermost:
// neighbouring ranks, which share a machine, are its groups, because it talks most; data is the
// outermost.

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "praxino/parallel/communicator.h"
#include "praxino/parallel/launch.h"

namespace praxino {

struct MeshShape {
  int64_t data = 1;
  int64_t context = 1;
  int64_t tensor = 1;
  constexpr int64_t ranks() const { return data * context * tensor; }
  constexpr bool operator==(const MeshShape&) const = default;
};

/// Where a rank stands on each axis.
struct MeshPlace {
  int64_t data = 0;
  int64_t context = 0;
  int64_t tensor = 0;
  constexpr bool operator==(const MeshPlace&) const = default;
};

constexpr MeshPlace mesh_place(const MeshShape& shape, int64_t rank) {
  return {.data = rank / (shape.context * shape.tensor),
          .context = rank / shape.tensor % shape.context,
          .tensor = rank % shape.tensor};
}

constexpr int64_t mesh_rank(const MeshShape& shape, const MeshPlace& place) {
  return (place.data * shape.context + place.context) * shape.tensor + place.tensor;
}

struct MeshOptions {
  MeshShape shape = {};
  at::Device device = at::Device(at::kCPU);  // where the tensors of the axes live
  double join_seconds = 300;                 // until all ranks must have come
  double silence_seconds = 600;        // that a collective on an axis may last before it fails
  double first_silence_seconds = 0;    // the same until the first step is done, where that is more
  double patience_seconds = 6 * 3600;  // the same for world(), where ranks wait for rank 0's work
  /// Folder of the files in which ranks leave their last collectives when one fails
  /// (docs/formats.md); made where the folder above it exists. Empty: none are written.
  std::filesystem::path dumps = {};
};

/// Thread-safe as its communicators are. Ends by closing its connections, at which the other ranks'
/// collectives fail.
class Mesh {
 public:
  struct State;
  explicit Mesh(std::unique_ptr<State> state);
  ~Mesh();

  /// A world of one.
  static std::unique_ptr<Mesh> alone();
  /// Rank 0 of a world with nobody in it, to plan with (tensors without memory): collectives return
  /// at once and leave their tensors as they are. No messages and no barrier.
  /// `over_gloo`: with the memory that Gloo's collectives take.
  static std::unique_ptr<Mesh> planned(const MeshShape& shape, bool over_gloo = true);
  /// Joins the other ranks through the store that `launch` names; rank 0 hosts it where no agent
  /// does. Returns when all ranks have come and world() is connected; the axes connect meanwhile,
  /// which their first collective waits for (and tells of, where it fails). Throws praxino::Error
  /// naming the ranks that did not come, or a port that is in use.
  static std::unique_ptr<Mesh> join(const Launch& launch, const MeshOptions& options);

  const MeshShape& shape() const;
  const MeshPlace& place() const;
  int64_t rank() const;
  int64_t ranks() const;
  bool first() const { return rank() == 0; }
  /// How long a collective of a step may last now: MeshOptions::first_silence_seconds until the
  /// first step_ends(), then silence_seconds. For what is part of a step and yet one of world().
  std::chrono::milliseconds silence() const;
  /// Between the two this rank must go on: where it begins no collective and waits for none for
  /// longer than silence(), it says so, tells the others, and ends the process.
  void step_begins(int64_t step) const;
  void step_ends() const;

  /// All ranks, for tensors on the CPU (Gloo) whatever the device: host-side decisions.
  const Communicator& world() const;
  /// The same ranks once more, for one thread beside the one that trains. What waits here gives up
  /// when a collective of another group has failed.
  const Communicator& background() const;
  /// The ranks that differ from this one on that axis alone.
  const Communicator& data() const;
  const Communicator& context() const;
  const Communicator& tensor() const;
  /// The ranks that hold the same parts of split matrices: those that share the tensor coordinate.
  const Communicator& replicas() const;
  /// All ranks, for tensors where those of the axes live.
  const Communicator& all() const;

  /// Seconds that this rank has stood still so far in waiting for the collectives of each group of
  /// several ranks but background(), by its name: the host for tensors on the CPU, the stream that
  /// waits for tensors on a GPU (from the first call of measure_streams() on). What a collective
  /// costs others, such as the processor time that Gloo's threads take from the step, is not in it;
  /// the time that a slower rank lets this one wait is.
  std::vector<std::pair<std::string, double>> waited() const;
  /// On a GPU: puts two events around every wait from now on.
  void measure_streams() const;

 private:
  std::unique_ptr<State> state_;
};

/// Every rank as a thread of this process, each with its own Mesh, over Gloo on the CPU: for tests.
/// The threads compute with one thread each. Returns when all have; throws again what the one that
/// failed first threw (the others' failures are echoes of it).
void run_as_threads(const MeshShape& shape, const std::function<void(Mesh&)>& run);

/// Hosts the store of a world on this machine, at a port that the system chooses.
class StoreServer {
 public:
  StoreServer();
  ~StoreServer();
  StoreServer(const StoreServer&) = delete;
  StoreServer& operator=(const StoreServer&) = delete;
  int64_t port() const;
  /// Tells the ranks of start number `restart` how one of them ended: "was ended by signal 9
  /// (Killed)". They name it in their errors, and wait for it no longer. Throws c10::Error.
  void tell_end(int64_t restart, int64_t rank, const std::string& how) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace praxino
