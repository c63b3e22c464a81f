#pragma once
// SIGINT and SIGTERM: the first asks the running loop to save and stop, the second ends the process
// at once.

namespace praxino {

/// While one lives, the first SIGINT/SIGTERM only sets requested(); a second one calls _exit(128 +
/// signal). At most one at a time; restores the old handlers when destroyed.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  bool requested() const;
  int exit_code() const;  // 130 for SIGINT, 143 for SIGTERM; 0 when none came
};

}  // namespace praxino
