#pragma once
// A progress line on stderr: one live line with ETA on a terminal, plain log lines at growing
// intervals when stderr is not one, nothing when the log level is above info. Owned by the loop
// that it describes; use from one thread, and one at a time.

#include <cstdint>
#include <string>
#include <string_view>

namespace praxino {

class Progress {
 public:
  /// `what`: "training", "indexing". `total`: number of units (0: unknown); `done`: units finished
  /// before the start.
  Progress(std::string what, int64_t total, int64_t done = 0);
  ~Progress();  // clears the live line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// `done`: units finished until now; `detail` stands at the end of the line ("loss 0.12").
  /// Cheap to call often: draws ten times a second at most on a terminal. Elsewhere lines are 10 s
  /// and a 20th of the time so far apart; work that takes less than 10 s prints none.
  void update(int64_t done, std::string_view detail = {});

 private:
  void draw(int64_t done, std::string_view detail, double now);
  std::string what_;
  int64_t total_;
  bool terminal_;
  double started_;
  double drawn_;     // when the line was last drawn
  int64_t counted_;  // units at `counted_at_`
  double counted_at_;
  double rate_ = 0;  // units a second, recent ones weigh more; 0: not known yet
  bool drew_ = false;
};

/// Seconds on a clock that never goes back; only differences mean something.
double monotonic_seconds();

/// "1:23:45", "2:05", "38 s".
std::string format_duration(double seconds);

}  // namespace praxino
