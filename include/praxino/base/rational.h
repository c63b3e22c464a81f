#pragma once
// Exact rational numbers for time bases, frame rates and presentation times. Pure and thread-safe.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace praxino {

/// numerator/denominator in lowest terms, denominator > 0. Products go through 128 bits; a result
/// that does not fit throws praxino::Error.
struct Rational {
  int64_t numerator = 0;
  int64_t denominator = 1;

  Rational() = default;
  Rational(int64_t whole) : numerator(whole) {}  // NOLINT(implicit): whole numbers are rationals
  Rational(int64_t n, int64_t d);                // reduced; d != 0

  double value() const { return static_cast<double>(numerator) / static_cast<double>(denominator); }
  std::string str() const;  // "35", "30000/1001"

  friend Rational operator+(const Rational& a, const Rational& b);
  friend Rational operator-(const Rational& a, const Rational& b);
  friend Rational operator*(const Rational& a, const Rational& b);
  friend Rational operator/(const Rational& a, const Rational& b);
  friend bool operator==(const Rational&, const Rational&) = default;
  friend std::strong_ordering operator<=>(const Rational& a, const Rational& b);

  /// "35", "17.5", "29.97" (becomes 2997/100), "30000/1001". Throws praxino::Error for anything
  /// else.
  static Rational parse(std::string_view text);
  int64_t floor() const;
};

}  // namespace praxino
