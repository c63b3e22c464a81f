#pragma once
// Ranks that let the others wait: all go at the pace of the slowest.

#include <cstdint>
#include <string>
#include <vector>

namespace praxino {

/// What a step took of a rank itself.
struct RankPace {
  double compute = 0;  // seconds in forward and backward, without the waits for other ranks
  double loader = 0;   // seconds that it waited for its own loader
  double total() const { return compute + loader; }
};

/// Pure: a function of what it was given.
class SlowRanks {
 public:
  /// Named are ranks that take `factor` times the median (and a millisecond more) in each of
  /// `steps` steps. 0: none.
  SlowRanks(double factor, int64_t steps) : factor_(factor), steps_(steps) {}

  /// The paces of all ranks in one step. A line for each rank to be named now: after `steps` steps
  /// in a row, and then each time it has lasted ten times as long. The median of an even number is
  /// the lower of the two, so that of two ranks the slower can be named.
  std::vector<std::string> add(const std::vector<RankPace>& ranks);

 private:
  struct Row {
    int64_t steps = 0;                         // in a row
    double total = 0, loader = 0, median = 0;  // sums over them
    int64_t told_at = 0;
  };
  double factor_;
  int64_t steps_;
  std::vector<Row> rows_;
};

}  // namespace praxino
