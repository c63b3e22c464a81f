#pragma once
// Rollout: frames imagined one after the other under given actions, each at the same cost.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "praxino/rollout/world.h"

namespace praxino {

struct SessionOptions {
  int64_t steps = 0;  // sampler steps K; 0: the run's objective.sampler_steps
  double context_noise =
      -1;              // 1 - tau of remembered frames; below 0: the run's objective.context_noise
  int64_t window = 0;  // frames remembered; 0: the model's
  std::optional<bool> cuda_graphs = {};  // record and replay; unset: the run's run.cuda_graphs
  uint64_t seed = 1;                     // same seed, actions and weights: the same bits
  int64_t first_row =
      0;  // number of row 0: row b draws the noise of row first_row + b, whatever the batch is
};

/// A batch of B rollouts that go in step. Owns the cache; borrows the world. Not thread-safe;
/// several sessions of one world may run in turn. Constant memory and constant time a frame.
///
/// With cuda_graphs, on a GPU, the model's work for a frame is recorded once the window is full
/// (praxino/ops/step_graph.h) and replayed as one launch a sampler step; frames do not change. A
/// session has one recording, with memory of its own. What cannot be recorded runs as it is.
///
/// What an imagined frame leaves behind is the picture that was handed out (8 bits), not the tokens
/// before rounding: a rollout can be continued from its frames by a new session that observes them.
class Session {
 public:
  Session(const World& world, int64_t batch, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Shows true frames: B T C Y X uint8, with the actions that led into them (B T A, B T known).
  void observe(const at::Tensor& frames, const ActionBatch& actions);
  /// Imagines the next frame after `actions` (B 1 A, B 1): B C Y X uint8, on the world's device.
  /// Needs at least one observed frame. A prediction that is not finite throws praxino::Error; the
  /// session is then as before the call.
  at::Tensor imagine(const ActionBatch& actions);

  /// An independent continuation of the same past: both give the same frames under the same
  /// actions.
  Session branch() const;
  /// Frames observed and imagined so far.
  int64_t frames() const;
  /// Decodes that were replays of a recording, so far.
  int64_t replays() const;
  /// Device memory of what is remembered; constant.
  int64_t bytes() const;

 private:
  struct State;
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Actions first .. first + count - 1 of `actions` (B T A, B T).
ActionBatch narrow_actions(const ActionBatch& actions, int64_t first, int64_t count);

/// The first `context` frames of `frames` (B T C Y X uint8; only those are read), then count
/// imagined ones under actions[context ..]: B (context + count) C Y X uint8 on the CPU. actions: B
/// (context + count) A. `after_frame` is told how many frames are imagined so far.
/// Throws Stopped where throw_if_stopped() does.
at::Tensor roll_out(Session& session, const at::Tensor& frames, const ActionBatch& actions,
                    int64_t context, const std::function<void(int64_t)>& after_frame = {});

}  // namespace praxino
