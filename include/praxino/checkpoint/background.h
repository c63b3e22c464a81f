#pragma once
// Checkpoints that training does not wait for.

#include <atomic>
#include <cstdint>
#include <future>

#include "praxino/checkpoint/store.h"

namespace praxino {

/// Saves on a thread of its own. Training waits only while a state is copied to host memory, which
/// is kept from save to save: one more copy of everything that a checkpoint holds (page-locked
/// where the state lies on a GPU). One save at a time: the next waits for the one before. All
/// functions are for one thread; the store belongs to this object meanwhile. Of several ranks each
/// has one, and all call begin() and finish() in the same order.
class BackgroundSaves {
 public:
  /// Borrows the store.
  explicit BackgroundSaves(CheckpointStore& store) : store_(store) {}
  /// Waits for the save under way. An error that nobody took is logged.
  ~BackgroundSaves();
  BackgroundSaves(const BackgroundSaves&) = delete;
  BackgroundSaves& operator=(const BackgroundSaves&) = delete;

  /// Makes room for copies of such a state on a thread of its own, so that the first begin() need
  /// not: touching fresh memory takes longer than filling it. Reads no values. Where memory is
  /// short, the first begin() finds out.
  void prepare(TrainState like);
  /// Copies the state and returns; the checkpoint appears later, as CheckpointStore::save makes it.
  /// Throws what the save before it ran into.
  void begin(const TrainState& state);
  /// Throws what a save that has ended meanwhile ran into; waits for nothing. Cheap: call it every
  /// step.
  void check();
  /// Whether the save under way has run into something that finish() will throw. Cheap, and what
  /// several ranks can agree on: they learn of it at different moments.
  bool failed() const { return failed_; }
  /// Whether finish() would wait.
  bool busy() const;
  /// Waits for the save under way and throws what it ran into.
  void finish();
  /// Step of the newest checkpoint that this object knows to be on disk; -1: none.
  int64_t written_step() const { return written_step_; }

 private:
  void copy(const TrainState& state);

  CheckpointStore& store_;
  TrainState copy_;  // belongs to the thread while one of these is valid
  std::future<void> preparing_, writing_;
  std::atomic<bool> failed_ = false;
  int64_t written_step_ = -1;
};

}  // namespace praxino
