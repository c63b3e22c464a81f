#pragma once
// Where the time goes between the start of a program and its first useful work.

#include <string>
#include <utility>
#include <vector>

namespace praxino {

/// A value; not thread-safe.
class StartClock {
 public:
  /// Begins now.
  StartClock();
  /// Begins when the kernel started this process, and marks the time since then as "process": the
  /// loader, the libraries' own set-up, the command line. To 10 ms.
  static StartClock of_process();

  /// The time since the last mark went into `part`; marks of one name add up.
  void mark(const std::string& part);
  /// Seconds of each part, in the order of their first marks.
  const std::vector<std::pair<std::string, double>>& parts() const { return parts_; }
  double total() const;
  /// "1.84 s: process 0.31, joined 0.06".
  std::string text() const;

 private:
  double last_;  // monotonic_seconds() of the last mark
  std::vector<std::pair<std::string, double>> parts_;
};

}  // namespace praxino
