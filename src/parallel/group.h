#pragma once
// What stands behind a Communicator: a backend of c10d, and the record of what was done with it.

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "parallel/collective_log.h"
#include "parallel/wait_clock.h"
#include "parallel/watchdog.h"
#include "praxino/parallel/communicator.h"

namespace praxino {

struct Communicator::Group {
  std::string name = "world";
  int64_t rank = 0;
  std::vector<int64_t> members = {0};         // their ranks in the world, by rank in this group
  c10::intrusive_ptr<c10d::Store> store;      // nothing in a group of one
  c10::intrusive_ptr<c10d::Backend> backend;  // nothing in a group of one
  std::atomic<int64_t> calls = 0;             // so far: collectives are numbered
  std::atomic<int64_t> messages = 0;          // and so are messages between two ranks
  std::shared_ptr<CollectiveLog> log = std::make_shared<CollectiveLog>();
  std::shared_future<void> connecting;  // where it happens on another thread: until then
  std::shared_ptr<Watchdog> watchdog;   // of the mesh; nothing in a group of one
  std::shared_ptr<WaitClock> waits;     // nothing: nobody asks
  bool over_gloo = false;
  bool patient = false;     // waits for as long as it takes, or until the mesh is broken
  bool background = false;  // of a thread whose waits are no part of a step

  bool planned = false;  // nobody is behind it (Mesh::planned)
  PlannedBytes sent;     // of a planned group

  int64_t size() const { return static_cast<int64_t>(members.size()); }
  /// A collective of a planned group: `passes` times around a ring with `whole`, the sum of what
  /// its ranks get.
  void plan(const at::Tensor& whole, int passes, bool sums) {
    (sums ? sent.summed : sent.moved) += passes * static_cast<double>(whole.nbytes()) *
                                         static_cast<double>(size() - 1) /
                                         static_cast<double>(size());
  }
  /// Where a collective of the mesh has failed, its backends are left behind: their destructors
  /// would wait for what hangs.
  ~Group();
  /// Throws where the work is not done within the limit (zero: the watchdog's; a patient group has
  /// none), or this group is patient and the mesh breaks before. `message`: between two ranks.
  void wait(c10d::Work& work, std::chrono::milliseconds limit, bool message) const;
};

using GroupPtr = std::shared_ptr<Communicator::Group>;

/// A group that is not connected yet. Its keys in `store` begin with its name and first member.
GroupPtr make_group(const c10::intrusive_ptr<c10d::Store>& store, std::string name, int64_t rank,
                    std::vector<int64_t> members);
/// The prefix of those keys.
std::string key_prefix(const Communicator::Group& group);
/// Over Gloo, through `store`. Blocks until all have joined. `address`: this machine's, numeric, as
/// the others reach it; empty: Gloo chooses, by GLOO_SOCKET_IFNAME or the machine's name.
/// `silence`: how long that may take.
void connect_gloo(Communicator::Group& group, const c10::intrusive_ptr<c10d::Store>& store,
                  const std::string& address, std::chrono::milliseconds silence);

}  // namespace praxino
