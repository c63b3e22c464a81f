#pragma once
// The sum of many rows of floats, such as the parts that blocks leave of a gain's gradient, in an
// order that follows from their number alone: groups of rows, then groups of their sums, and so on.

#include <cstdint>

#include "kernels/launch.h"

namespace praxino::kernels {

inline constexpr int64_t kSummedRows = 64;  // of a group

/// Floats that `count` rows of `columns` take together with the sums on the way.
constexpr int64_t sum_rows_workspace(int64_t count, int64_t columns) {
  int64_t rows = count;
  for (int64_t level = count; level > kSummedRows;) {
    level = (level + kSummedRows - 1) / kSummedRows;
    rows += level;
  }
  return rows * columns;
}

/// Rows of two parts of `width` floats each. Sums of no rows are 0.
struct SumRows {
  float* rows = nullptr;  // sum_rows_workspace(count, 2 * width) floats: the rows, then space
  int64_t count = 0;
  int64_t width = 0;
  float* results[2] = {};  // width each
};
/// Deterministic; only queues work on the stream; thread-safe.
Status launch_sum_rows(const SumRows& params, Stream stream);

}  // namespace praxino::kernels
