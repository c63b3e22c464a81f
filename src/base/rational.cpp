#include "praxino/base/rational.h"

#include <fmt/core.h>

#include <charconv>
#include <limits>

#include "praxino/base/error.h"

namespace praxino {
namespace {

__extension__ using int128 = __int128;

int128 gcd(int128 a, int128 b) {
  while (b != 0) {
    const int128 rest = a % b;
    a = b;
    b = rest;
  }
  return a < 0 ? -a : a;
}

bool fits(int128 x) {
  return x >= std::numeric_limits<int64_t>::min() && x <= std::numeric_limits<int64_t>::max();
}

Rational reduced(int128 n, int128 d) {
  if (d == 0) fail("a rational number with denominator 0");
  const int128 common = d < 0 ? -gcd(n, d) : gcd(n, d);
  n /= common;
  d /= common;
  if (!fits(n) || !fits(d)) fail("a rational number does not fit into 64 bits");
  Rational result(static_cast<int64_t>(n));
  result.denominator = static_cast<int64_t>(d);
  return result;
}

int128 wide(int64_t x) { return x; }

[[noreturn]] void refuse(std::string_view text) {
  fail("'{}' is not a number such as 35, 17.5 or 30000/1001 (with at most 18 digits)", text);
}

/// Digits only, no sign.
int64_t parse_digits(std::string_view digits, std::string_view text) {
  int64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, code] = std::from_chars(digits.data(), end, value);
  if (digits.empty() || digits.front() == '-' || code != std::errc() || stop != end) refuse(text);
  return value;
}

}  // namespace

Rational::Rational(int64_t n, int64_t d) { *this = reduced(n, d); }

std::string Rational::str() const {
  return denominator == 1 ? fmt::format("{}", numerator)
                          : fmt::format("{}/{}", numerator, denominator);
}

Rational operator+(const Rational& a, const Rational& b) {
  // Each product is below 2^126, so their sum fits into 128 bits.
  return reduced(wide(a.numerator) * b.denominator + wide(b.numerator) * a.denominator,
                 wide(a.denominator) * b.denominator);
}

Rational operator-(const Rational& a, const Rational& b) {
  return reduced(wide(a.numerator) * b.denominator - wide(b.numerator) * a.denominator,
                 wide(a.denominator) * b.denominator);
}

Rational operator*(const Rational& a, const Rational& b) {
  return reduced(wide(a.numerator) * b.numerator, wide(a.denominator) * b.denominator);
}

Rational operator/(const Rational& a, const Rational& b) {
  if (b.numerator == 0) fail("a rational number divided by 0");
  return reduced(wide(a.numerator) * b.denominator, wide(a.denominator) * b.numerator);
}

std::strong_ordering operator<=>(const Rational& a, const Rational& b) {
  return wide(a.numerator) * b.denominator <=> wide(b.numerator) * a.denominator;
}

Rational Rational::parse(std::string_view text) {
  const bool negative = text.starts_with('-');
  const std::string_view number = text.substr(negative ? 1 : 0);
  const Rational sign(negative ? -1 : 1);
  if (const size_t slash = number.find('/'); slash != std::string_view::npos) {
    const int64_t n = parse_digits(number.substr(0, slash), text);
    const int64_t d = parse_digits(number.substr(slash + 1), text);
    if (d == 0) refuse(text);
    return sign * Rational(n, d);
  }
  const size_t point = number.find('.');
  const int64_t whole = parse_digits(number.substr(0, point), text);
  if (point == std::string_view::npos) return sign * Rational(whole);
  const std::string_view decimals = number.substr(point + 1);
  if (decimals.size() > 18) refuse(text);
  int64_t scale = 1;
  for (size_t i = 0; i < decimals.size(); ++i) scale *= 10;
  return sign * (Rational(whole) + Rational(parse_digits(decimals, text), scale));
}

int64_t Rational::floor() const {
  const int64_t quotient = numerator / denominator;
  return numerator % denominator < 0 ? quotient - 1 : quotient;
}

}  // namespace praxino
