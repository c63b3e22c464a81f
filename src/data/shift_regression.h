#pragma once
// Cross-validated ridge regression for a few dozen features. Plain loops: the systems are too small
// for threads.

#include <cstdint>
#include <span>
#include <vector>

namespace praxino {

/// Row-major.
struct Matrix {
  Matrix(int64_t r, int64_t c) : rows(r), columns(c), values(static_cast<size_t>(r * c)) {}
  std::span<double> row(int64_t i) {
    return {values.data() + i * columns, static_cast<size_t>(columns)};
  }
  std::span<const double> row(int64_t i) const {
    return {values.data() + i * columns, static_cast<size_t>(columns)};
  }
  int64_t rows;
  int64_t columns;
  std::vector<double> values;
};

/// Gives every column zero mean and unit deviation; outliers are held at 5 deviations, constant
/// columns become 0.
void standardize(Matrix& x);

/// Squared errors of y (samples x targets) predicted from x (samples x features) and a constant,
/// with weights fitted on the samples of the other folds; fold[i] is 0 .. folds-1.
Matrix held_out_errors(const Matrix& x, const Matrix& y, std::span<const int64_t> fold,
                       int64_t folds);

}  // namespace praxino
