#include "praxino/eval/interval.h"

#include <algorithm>
#include <cmath>

#include "praxino/base/error.h"
#include "praxino/base/random.h"

namespace praxino::eval {
namespace {

constexpr int kResamples = 2000;

void check_finite(const std::vector<double>& values) {
  if (values.empty()) fail("an average needs at least one clip");
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]))
      fail("an average over clips: the value of clip {} is not finite", i);
  }
}

/// Linear between the two nearest order statistics.
double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Interval ratio_interval(const std::vector<double>& numerator,
                        const std::vector<double>& denominator) {
  if (numerator.size() != denominator.size()) {
    fail("a ratio needs pairs: {} and {} values were given", numerator.size(), denominator.size());
  }
  check_finite(numerator);
  check_finite(denominator);
  const auto n = static_cast<int64_t>(numerator.size());
  // The ratio of sums over those clips that pick(k), k = 0 .. n-1, names.
  const auto ratio_of = [&](const auto& pick) {
    double above = 0, below = 0;
    for (int64_t k = 0; k < n; ++k) {
      const auto clip = static_cast<size_t>(pick(k));
      above += numerator[clip];
      below += denominator[clip];
    }
    return above / below;
  };
  const double value = ratio_of([](int64_t k) { return k; });
  if (n == 1) return {value, value, value, n};

  Random random(derive_seed(0, "eval.bootstrap", static_cast<uint64_t>(n)));
  std::vector<double> resampled(kResamples);
  for (double& one : resampled) one = ratio_of([&](int64_t) { return random.integer(n); });
  std::sort(resampled.begin(), resampled.end());
  return {value, quantile(resampled, 0.025), quantile(resampled, 0.975), n};
}

Interval mean_interval(const std::vector<double>& values) {
  return ratio_interval(values, std::vector<double>(values.size(), 1.0));
}

}  // namespace praxino::eval
