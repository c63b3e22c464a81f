#pragma once
// SIGINT and SIGTERM: the first asks the running loop to save and stop, the second ends the process
// at once. The loop either asks requested() between two pieces of work, or calls throw_if_stopped()
// and saves what there is to save where Stopped is caught.

#include <exception>
#include <functional>

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

/// Not an Error: nothing is wrong. The commands end with exit_code().
class Stopped : public std::exception {
 public:
  explicit Stopped(int exit_code) : exit_code_(exit_code) {}
  const char* what() const noexcept override { return "stopped by a signal"; }
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

/// For work that can be given up, between two frames or files: throws Stopped when a StopSignal
/// lives and a signal came. Thread-safe.
void throw_if_stopped();

/// For work that several processes do in step, and must give up at the same place: while one lives,
/// throw_if_stopped() on its thread hands `agree` what this process would throw (0: nothing) and
/// throws what all of them agree on. All of them call it equally often. At most one at a time.
class StopTogether {
 public:
  explicit StopTogether(std::function<int(int)> agree);
  ~StopTogether();
  StopTogether(const StopTogether&) = delete;
  StopTogether& operator=(const StopTogether&) = delete;
};

/// What throw_if_stopped() would throw, for work whose end others must agree to: the exit code, or
/// 0. Thread-safe.
int stop_requested();

}  // namespace praxino
