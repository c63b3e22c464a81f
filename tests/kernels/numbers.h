#pragma once
// Random inputs of kernels, and how far their results are from the exact ones.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "kernels/bf16.h"
#include "kernels/launch.h"

namespace praxino::kernels::testing {

using Doubles = std::vector<double>;

template <class T>
inline constexpr Element kElementOf = sizeof(T) == 4 ? Element::kFloat : Element::kBf16;

template <class T>
T rounded(double value) {
  if constexpr (sizeof(T) == 4) {
    return static_cast<float>(value);
  } else {
    return to_bf16(static_cast<float>(value));
  }
}

/// The value as the type holds it.
template <class T>
double as(double value) {
  return static_cast<double>(to_float(rounded<T>(value)));
}

/// One step of a formula, rounded to the type; double is exact.
template <class T>
double step(double value) {
  if constexpr (std::is_same_v<T, double>) {
    return value;
  } else {
    return as<T>(value);
  }
}

template <class T>
std::vector<T> normal(int64_t count, uint64_t seed, double deviation = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> distribution(0, deviation);
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = rounded<T>(distribution(random));
  return values;
}

template <class T>
Doubles exact(const std::vector<T>& values) {
  Doubles result;
  for (const T value : values) result.push_back(static_cast<double>(to_float(value)));
  return result;
}

inline double largest(const Doubles& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::fabs(value));
  return most;
}

/// The largest distance; infinite where one of the values is not a number.
inline double distance(const Doubles& a, const Doubles& b) {
  double most = a.size() == b.size() ? 0 : std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double apart = std::fabs(a[i] - b[i]);
    most = std::isnan(apart) ? std::numeric_limits<double>::infinity() : std::max(most, apart);
  }
  return most;
}

/// Rounding of float sums in another order, relative to the largest value.
inline constexpr double kFloatTolerance = 5e-6;

/// How far a result of the type may be from the exact values: in bfloat16 twice as far as these
/// values rounded.
template <class T>
double bound(const Doubles& want) {
  if (sizeof(T) == 4) return kFloatTolerance * largest(want);
  Doubles nearest;
  for (const double value : want) nearest.push_back(as<T>(value));
  return 2 * distance(nearest, want);
}

}  // namespace praxino::kernels::testing
