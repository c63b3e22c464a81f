#pragma once
// How sure a figure is. Pure functions, thread-safe.

#include <cstdint>
#include <vector>

namespace praxino::eval {

/// Mean and 95 % interval over independent clips (percentile bootstrap, 2,000 resamples, fixed
/// seed). n >= 1; with n == 1 the interval is the value. A value that is not finite throws
/// praxino::Error.
struct Interval {
  double mean = 0, low = 0, high = 0;
  int64_t n = 0;
};
Interval mean_interval(const std::vector<double>& values);
/// The same for a ratio of sums, sum(numerator) / sum(denominator), resampling pairs.
Interval ratio_interval(const std::vector<double>& numerator,
                        const std::vector<double>& denominator);

}  // namespace praxino::eval
