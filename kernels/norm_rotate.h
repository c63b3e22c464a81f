#pragma once
// RMSNorm over the head width with a gain, then rotary positions, and its gradient (the operation:
// include/praxino/ops/norm.h); or rotary positions alone (include/praxino/ops/rope.h). Arithmetic
// in float; deterministic: sums in an order that follows from the shape, no atomics. Head widths
// that are multiples of 16 up to 512, at pointers aligned to 16 bytes, are read once and kept in
// registers; other even ones are read twice, an element at a time. Pointers are to device memory
// and may not overlap. Launchers only queue work on the stream; they are thread-safe.

#include "kernels/division.h"
#include "kernels/frame_rows.h"
#include "kernels/launch.h"

namespace praxino::kernels {

struct HeadRows {
  int64_t rows = 0;
  int64_t positions = 0;
  int64_t heads = 0;
  int64_t width = 0;  // of a head
  /// Every head of every position is a row of `width`; all of them share the sum for the gain.
  constexpr PRAXINO_HOST_DEVICE FrameRows all() const {
    return {1, rows * positions * heads, width};
  }
};

/// What the kernels are launched with: their parameters, and the position of a row.
template <class Params>
struct ByHead {
  Params params;
  Divisor heads;
  Divisor positions;
  constexpr PRAXINO_HOST_DEVICE int64_t position(int64_t row) const {
    return positions.remainder(heads.quotient(row));
  }
};

template <class Params>
constexpr ByHead<Params> by_head(const Params& params) {
  return {params, Divisor(params.shape.heads), Divisor(params.shape.positions)};
}

constexpr PRAXINO_HOST_DEVICE bool in_range(const HeadRows& shape) {
  if (shape.rows < 0 || shape.positions < 0 || shape.heads < 0 || shape.width % 2 != 0)
    return false;
  if (shape.heads > 0 && shape.positions > kMaxRowWidth * kMaxRowWidth / shape.heads) return false;
  return in_range(FrameRows{shape.rows, shape.positions * shape.heads, shape.width});
}

struct NormRotate {
  const void* x = nullptr;      // rows x positions x heads x width
  const float* gain = nullptr;  // width; null: rows are rotated as they are, and have no inverse
  const float* cos = nullptr;   // positions x width / 2
  const float* sin = nullptr;
  void* y = nullptr;         // as x
  float* inverse = nullptr;  // rows x positions x heads: 1 / rms; unused without gain
  HeadRows shape;
  Element element = Element::kFloat;  // of x and y
};
/// Any number of rows, 0 included; even widths from 2 to kMaxRowWidth. kRefused otherwise.
Status launch_norm_rotate(const NormRotate& params, Stream stream);

struct NormRotateBackward {
  const void* x = nullptr;
  const float* gain = nullptr;
  const float* cos = nullptr;
  const float* sin = nullptr;
  const float* inverse = nullptr;  // as the forward pass wrote it
  const void* grad = nullptr;      // of y
  void* grad_x = nullptr;          // null: not computed
  float* grad_gain = nullptr;      // width; null: not computed
  float* workspace = nullptr;      // chunk_workspace(shape.all(), 1) floats
  HeadRows shape;
  Element element = Element::kFloat;  // of x and both gradients
};
Status launch_norm_rotate_backward(const NormRotateBackward& params, Stream stream);

}  // namespace praxino::kernels
