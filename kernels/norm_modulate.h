#pragma once
// RMSNorm and modulation by frame, and its gradient (the operation: include/praxino/ops/norm.h).
// Arithmetic in float; deterministic: sums in an order that follows from shape and alignment, no
// atomics.
// Widths that are multiples of 8 up to 4096, at pointers aligned to 16 bytes, are read once and
// kept in registers; others are read twice, an element at a time. Pointers are to device memory and
// may not overlap. Launchers only queue work on the stream; they are thread-safe.

#include "kernels/frame_rows.h"
#include "kernels/launch.h"

namespace praxino::kernels {

/// y = x * inverse * (1 + scale) + shift, inverse = 1 / sqrt(mean(x^2) + 1e-6).
struct NormModulate {
  const float* x = nullptr;      // frames x tokens x width
  const float* scale = nullptr;  // frames x width
  const float* shift = nullptr;
  void* y = nullptr;         // as x
  float* inverse = nullptr;  // frames x tokens
  FrameRows shape;
  Element element = Element::kFloat;  // of y
};
/// Any number of rows, 0 included; widths from 1 to kMaxRowWidth. kRefused otherwise.
Status launch_norm_modulate(const NormModulate& params, Stream stream);

/// What is null is not computed: grad_x, or the two sums together.
struct NormModulateBackward {
  const float* x = nullptr;
  const float* scale = nullptr;
  const float* inverse = nullptr;  // as the forward pass wrote it
  const void* grad = nullptr;      // of y
  float* grad_x = nullptr;
  float* grad_scale = nullptr;  // frames x width: sums over tokens
  float* grad_shift = nullptr;
  float* workspace = nullptr;  // chunk_workspace(shape, 2) floats
  FrameRows shape;
  Element element = Element::kFloat;  // of grad
};
Status launch_norm_modulate_backward(const NormModulateBackward& params, Stream stream);

}  // namespace praxino::kernels
