#pragma once
// `expect:` turns a run into a convergence test.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "praxino/config/run.h"

namespace praxino {

/// Judges each expectation at its step against the newest value of its metric. A value.
class Expectations {
 public:
  Expectations(std::vector<Expectation> lines, int64_t last_step);
  /// Metrics after `step`; judges what is due: `at` < the last step when it is reached, the rest at the `end`, after
  /// the final evaluation.
  void observe(int64_t step, const std::map<std::string, double>& newest, bool end);
  /// One text "metric, at, wanted, got" for each line that missed (or whose metric never came).
  std::vector<std::string> missed_table() const;
  bool missed() const;

 private:
  struct Line {
    Expectation want;
    bool judged = false;
    bool held = false;
    double got = 0;
    bool seen = false;
  };
  std::vector<Line> lines_;
  int64_t last_step_;
};

}  // namespace praxino
