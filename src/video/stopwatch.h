#pragma once
// How much processor time a scope takes.

#include <ctime>

namespace praxino {

/// Processor time of this thread, in seconds.
inline double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Adds the processor time between its making and its end to a counter.
class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total), start_(thread_seconds()) {}
  ~Stopwatch() { total_ += thread_seconds() - start_; }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& total_;
  double start_;
};

}  // namespace praxino
