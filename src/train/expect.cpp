#include "praxino/train/expect.h"

#include <fmt/format.h>

#include <cmath>

namespace praxino {
namespace {

std::string bound(const Expectation& want) {
  std::string text;
  if (std::isfinite(want.below)) text = fmt::format("below {}", want.below);
  if (std::isfinite(want.above)) text += fmt::format("{}above {}", text.empty() ? "" : ", ", want.above);
  return text;
}

}  // namespace

Expectations::Expectations(std::vector<Expectation> lines, int64_t last_step) : last_step_(last_step) {
  for (Expectation& want : lines) lines_.push_back({.want = std::move(want)});
}

void Expectations::observe(int64_t step, const std::map<std::string, double>& newest, bool end) {
  for (Line& line : lines_) {
    const bool before_end = line.want.at > 0 && line.want.at < last_step_;
    const bool due = end || (before_end && step >= line.want.at);  // the last step has its evaluation still to come
    if (line.judged || !due) continue;
    line.judged = true;
    const auto found = newest.find(line.want.metric);
    if (found == newest.end()) continue;
    line.seen = true;
    line.got = found->second;
    line.held = line.got < line.want.below && line.got > line.want.above;  // false for NaN
  }
}

bool Expectations::missed() const {
  for (const Line& line : lines_) {
    if (!line.held) return true;
  }
  return false;
}

std::vector<std::string> Expectations::missed_table() const {
  std::vector<std::string> table;
  for (const Line& line : lines_) {
    if (line.held) continue;
    const std::string got = line.seen ? fmt::format("{:.6g}", line.got) : "never measured";
    const std::string at = line.want.at > 0 ? fmt::format("step {}", line.want.at) : "the end";
    table.push_back(
        fmt::format("{:<34} at {:<12} expected {:<20} got {}", line.want.metric, at, bound(line.want), got));
  }
  return table;
}

}  // namespace praxino
