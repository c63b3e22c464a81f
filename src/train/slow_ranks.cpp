#include "slow_ranks.h"

#include <fmt/format.h>

#include <algorithm>

namespace praxino {

std::vector<std::string> SlowRanks::add(const std::vector<RankPace>& ranks) {
  constexpr double kLeast = 1e-3;  // seconds
  std::vector<std::string> lines;
  if (factor_ <= 0 || ranks.size() < 2) return lines;
  rows_.resize(ranks.size());
  std::vector<double> totals;
  for (const RankPace& pace : ranks) totals.push_back(pace.total());
  const auto middle = totals.begin() + static_cast<std::ptrdiff_t>((totals.size() - 1) / 2);
  std::nth_element(totals.begin(), middle, totals.end());
  const double median = *middle;
  for (size_t r = 0; r < ranks.size(); ++r) {
    Row& row = rows_[r];
    if (ranks[r].total() < factor_ * median + kLeast) {
      row = {};
      continue;
    }
    ++row.steps;
    row.total += ranks[r].total();
    row.loader += ranks[r].loader;
    row.median += median;
    if (row.steps != steps_ && (row.told_at == 0 || row.steps < 10 * row.told_at)) continue;
    row.told_at = row.steps;
    const auto n = static_cast<double>(row.steps);
    lines.push_back(fmt::format(
        "rank {} is slow: {:.3g} s a step of its own over {} steps ({:.3g} s of it waiting for its "
        "loader), the median of the ranks is {:.3g} s",
        r, row.total / n, row.steps, row.loader / n, row.median / n));
  }
  return lines;
}

}  // namespace praxino
