#pragma once
// What stands behind a Communicator: a backend of c10d, and the store by which its ranks tell each
// other of failures.

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "parallel/wait_clock.h"
#include "praxino/parallel/communicator.h"

namespace praxino {

struct Communicator::Group {
  std::string name = "world";
  int64_t rank = 0;
  std::vector<int64_t> members = {0};         // their ranks in the world, by rank in this group
  c10::intrusive_ptr<c10d::Store> store;      // nothing in a group of one
  c10::intrusive_ptr<c10d::Backend> backend;  // nothing in a group of one
  std::atomic<int64_t> calls = 0;             // so far: collectives are numbered
  std::shared_ptr<std::atomic<bool>> broken;  // shared by the groups of a mesh
  std::shared_ptr<WaitClock> waits;           // nothing: nobody asks
  bool over_gloo = false;
  bool gives_up = false;  // when another group of the mesh is broken

  int64_t size() const { return static_cast<int64_t>(members.size()); }
  /// Where a collective of the mesh has failed, its backends are left behind: their destructors
  /// would wait for what hangs.
  ~Group();
  /// Tells the others that this rank's collective failed, waits a moment for theirs, and names the
  /// ranks that stay silent: they have ended, or hang.
  std::string silent_ranks();
  /// Throws where the work is not done within the limit (zero: that of the group), or this group
  /// gives_up and another breaks before.
  void wait(c10d::Work& work, std::chrono::milliseconds limit) const;
};

using GroupPtr = std::shared_ptr<Communicator::Group>;

/// A group over Gloo whose keys in `store` begin with its name and `number`. Blocks until all have
/// joined.
GroupPtr join_gloo(const c10::intrusive_ptr<c10d::Store>& store, std::string name, int64_t rank,
                   std::vector<int64_t> members, std::chrono::milliseconds silence);

/// "first line of an error", without the C++ stack that c10 appends.
std::string first_line(const std::exception& error);

}  // namespace praxino
