#pragma once
// Finds out who hangs. Each rank has one, with a thread and a connection to the store of its own:
// it tells the others once a second where its rank stands, sees when they or its own rank no longer
// go on, and when a collective fails it asks all who take part, names those who kept it from
// completing, and writes the last collectives of this rank to a file.

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parallel/collective_log.h"

namespace praxino {

struct WatchedGroup {
  std::string name;
  std::vector<int64_t> members;  // ranks of the world
  std::shared_ptr<const CollectiveLog> log;
};

struct WatchdogOptions {
  int64_t rank = 0;
  int64_t ranks = 1;
  std::chrono::milliseconds first{600'000};   // limit until the first step is done
  std::chrono::milliseconds steady{600'000};  // and after it
  std::filesystem::path dumps = {};           // folder; empty: nothing is written
  std::string store_host = "the launcher";    // who is to blame when the store falls silent
  /// Ends a process whose main thread does not come back; empty: _exit(1).
  std::function<void()> end_process = {};
  std::chrono::milliseconds pulse{250};  // between two looks
};

/// The key under which a launcher says how a rank ended, in a world's part of the store.
std::string ended_key(int64_t rank);

/// Thread-safe.
class Watchdog {
 public:
  /// `store`: of this world alone; cloned. The groups are told before start().
  Watchdog(c10d::Store& store, WatchdogOptions options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  void add(WatchedGroup group);
  void start();
  /// Says that this rank has left, and watches no more; before its connections close, at which the
  /// others ask. Waits a second at most: a store that hangs is left behind.
  void leave();

  /// Between these two the rank must go on: a step in which it waits for nobody and begins nothing
  /// for longer than limit() is its own fault; it says so and ends.
  void step_begins(int64_t step);
  void step_ends();
  /// How long a collective of a step may last now.
  std::chrono::milliseconds limit() const;
  /// Something was entered, or a wait began (+1) or ended (-1).
  void goes_on(int waits = 0);

  /// Whether something has failed here or elsewhere, after which nobody shall wait; and what.
  bool broken() const;
  std::string reason() const;
  /// Declares the world broken and says who is to blame for the failure of collective `number` of a
  /// group (0: of a message). Waits two seconds for the answers of ranks that give none, and
  /// six at most for the store.
  std::string explain(const std::string& group, int64_t number, const std::string& collective,
                      const std::string& error);

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the thread
};

}  // namespace praxino
