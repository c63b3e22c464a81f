#pragma once
// Cross-entropy of logits, and its gradient written over them (the operation:
// include/praxino/ops/cross_entropy.h): the logits are read once and written once. Arithmetic in
// float; deterministic: sums in an order that follows from shape and alignment, no atomics. Rows of
// up to 8192 classes that 16-byte accesses divide stay in registers; others are read twice, the
// second time out of a cache, 16 bytes an access but for the ends of a row. Launchers only queue
// work on the stream; they are thread-safe.

#include <cstdint>

#include "kernels/host_device.h"
#include "kernels/launch.h"

namespace praxino::kernels {

/// With w the row's weight, t its target and p = softmax(logits): loss = w (log sum exp(logits) -
/// logits[t]), logits <- w (p - [i = t]). Where t is `ignore`, both are zero; where it is no class
/// either, both are NaN.
struct CrossEntropy {
  void* logits = nullptr;            // rows x classes; overwritten where `gradient`
  const int64_t* targets = nullptr;  // rows
  const float* weights = nullptr;    // rows; null: all 1
  float* losses = nullptr;           // rows
  int64_t rows = 0;
  int64_t classes = 0;
  int64_t ignore = -100;
  Element element = Element::kFloat;  // of the logits
  bool gradient = true;
};
/// Any number of rows, 0 included; classes from 1 to 2^31 - 1. kRefused otherwise.
Status launch_cross_entropy(const CrossEntropy& params, Stream stream);

/// rows <- factor of the row * rows, in place; a row whose factor is 1 is not touched.
struct ScaleRows {
  void* rows_of = nullptr;         // rows x width
  const float* factors = nullptr;  // rows
  int64_t rows = 0;
  int64_t width = 0;
  Element element = Element::kFloat;
};
Status launch_scale_rows(const ScaleRows& params, Stream stream);

/// A row of `count` elements whose first is number `first` after a 16-byte boundary: elements
/// before the first boundary inside, whole vectors, and the rest.
struct RowParts {
  int64_t body;  // where vectors begin
  int64_t tail;  // where they end
};

constexpr PRAXINO_HOST_DEVICE RowParts row_parts(int64_t first, int64_t count, int vector) {
  const int64_t missing = (vector - first % vector) % vector;
  const int64_t body = missing < count ? missing : count;
  return {body, body + (count - body) / vector * vector};
}

}  // namespace praxino::kernels
