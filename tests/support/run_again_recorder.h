#pragma once
// A recorder of steps for tests without a GPU: it runs the step when it is recorded, and again, on
// the recording's own inputs, at each later replay.

#include <memory>
#include <utility>

#include "ops/step_graph_maker.h"

namespace praxino::testing {

/// Of all recorders since the last reset.
struct RunAgainCounts {
  int recordings = 0;
  int replays = 0;
};
inline RunAgainCounts& run_again_counts() {
  static RunAgainCounts counts;
  return counts;
}

class RunAgainStep final : public ops::RecordedStep {
 public:
  explicit RunAgainStep(std::function<void()> step) : step_(std::move(step)) {}
  void replay() override {
    ++run_again_counts().replays;
    if (std::exchange(first_, false)) return;  // it has run while it was recorded
    step_();
  }

 private:
  std::function<void()> step_;
  bool first_ = true;
};

class RunAgainRecorder final : public ops::StepRecorder {
 public:
  std::unique_ptr<ops::RecordedStep> record(const std::function<void()>& step) override {
    ++run_again_counts().recordings;
    step();
    return std::make_unique<RunAgainStep>(step);
  }
};

/// While it lives, every device has such a recorder. Counts begin anew.
class WithRunAgainRecorder {
 public:
  WithRunAgainRecorder() {
    run_again_counts() = {};
    ops::use_recorder_maker([](const at::Device&) -> std::unique_ptr<ops::StepRecorder> {
      return std::make_unique<RunAgainRecorder>();
    });
  }
  ~WithRunAgainRecorder() { ops::use_recorder_maker(nullptr); }
  WithRunAgainRecorder(const WithRunAgainRecorder&) = delete;
  WithRunAgainRecorder& operator=(const WithRunAgainRecorder&) = delete;
};

}  // namespace praxino::testing
