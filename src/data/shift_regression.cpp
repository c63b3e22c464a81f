#include "data/shift_regression.h"

#include <algorithm>
#include <cmath>

namespace praxino {
namespace {

constexpr double kRidge = 1e-3;  // a sample: features have unit deviation

// Normal equations (gram + ridge) w = cross.
struct Sums {
  Sums(int64_t features, int64_t targets) : gram(features, features), cross(features, targets) {}
  Matrix gram;
  Matrix cross;
  double samples = 0;

  void add(std::span<const double> x, std::span<const double> y) {
    for (size_t i = 0; i < x.size(); ++i) {
      if (x[i] == 0) continue;
      const auto gram_row = gram.row(static_cast<int64_t>(i));
      const auto cross_row = cross.row(static_cast<int64_t>(i));
      for (size_t j = 0; j < x.size(); ++j) gram_row[j] += x[i] * x[j];
      for (size_t j = 0; j < y.size(); ++j) cross_row[j] += x[i] * y[j];
    }
    ++samples;
  }
};

// `all` without `part`.
Sums rest(const Sums& all, const Sums& part) {
  Sums sums = all;
  for (size_t i = 0; i < sums.gram.values.size(); ++i) sums.gram.values[i] -= part.gram.values[i];
  for (size_t i = 0; i < sums.cross.values.size(); ++i)
    sums.cross.values[i] -= part.cross.values[i];
  sums.samples -= part.samples;
  return sums;
}

// By Cholesky's decomposition; the ridge keeps the matrix positive definite.
Matrix solve(Sums sums) {
  Matrix& a = sums.gram;
  Matrix& w = sums.cross;
  const int64_t n = a.rows;
  for (int64_t i = 0; i < n; ++i)
    a.row(i)[static_cast<size_t>(i)] += kRidge * std::max(1.0, sums.samples);
  const auto at = [&a](int64_t i, int64_t j) -> double& {
    return a.row(i)[static_cast<size_t>(j)];
  };
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t k = 0; k < j; ++k) at(j, j) -= at(j, k) * at(j, k);
    at(j, j) = std::sqrt(at(j, j));
    for (int64_t i = j + 1; i < n; ++i) {
      for (int64_t k = 0; k < j; ++k) at(i, j) -= at(i, k) * at(j, k);
      at(i, j) /= at(j, j);
    }
  }
  for (int64_t t = 0; t < w.columns; ++t) {
    const auto target = [&w, t](int64_t i) -> double& { return w.row(i)[static_cast<size_t>(t)]; };
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t k = 0; k < i; ++k) target(i) -= at(i, k) * target(k);
      target(i) /= at(i, i);
    }
    for (int64_t i = n - 1; i >= 0; --i) {
      for (int64_t k = i + 1; k < n; ++k) target(i) -= at(k, i) * target(k);
      target(i) /= at(i, i);
    }
  }
  return w;
}

Matrix with_constant(const Matrix& x) {
  Matrix wider(x.rows, x.columns + 1);
  for (int64_t i = 0; i < x.rows; ++i) {
    std::copy(x.row(i).begin(), x.row(i).end(), wider.row(i).begin());
    wider.row(i).back() = 1;
  }
  return wider;
}

}  // namespace

void standardize(Matrix& x) {
  constexpr double kLimit = 5;
  const auto count = static_cast<double>(x.rows);
  for (size_t c = 0; c < static_cast<size_t>(x.columns); ++c) {
    double mean = 0;
    double square = 0;
    for (int64_t i = 0; i < x.rows; ++i) mean += x.row(i)[c] / count;
    for (int64_t i = 0; i < x.rows; ++i) square += std::pow(x.row(i)[c] - mean, 2) / count;
    const double scale = square > 1e-12 ? 1 / std::sqrt(square) : 0;
    for (int64_t i = 0; i < x.rows; ++i) {
      x.row(i)[c] = std::clamp((x.row(i)[c] - mean) * scale, -kLimit, kLimit);
    }
  }
}

Matrix held_out_errors(const Matrix& x_plain, const Matrix& y, std::span<const int64_t> fold,
                       int64_t folds) {
  const Matrix x = with_constant(x_plain);
  Sums all(x.columns, y.columns);
  std::vector<Sums> parts(static_cast<size_t>(folds), all);
  for (int64_t i = 0; i < x.rows; ++i) {
    all.add(x.row(i), y.row(i));
    parts[static_cast<size_t>(fold[static_cast<size_t>(i)])].add(x.row(i), y.row(i));
  }
  std::vector<Matrix> weights;
  for (const Sums& part : parts) weights.push_back(solve(rest(all, part)));

  Matrix errors = y;
  for (int64_t i = 0; i < x.rows; ++i) {
    const Matrix& w = weights[static_cast<size_t>(fold[static_cast<size_t>(i)])];
    const auto miss = errors.row(i);
    for (int64_t f = 0; f < x.columns; ++f) {
      const double value = x.row(i)[static_cast<size_t>(f)];
      for (size_t t = 0; t < miss.size(); ++t) miss[t] -= value * w.row(f)[t];
    }
    for (double& m : miss) m *= m;
  }
  return errors;
}

}  // namespace praxino
