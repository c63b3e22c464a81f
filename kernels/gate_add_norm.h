#pragma once
// A branch joins the residual stream and the next branch gets its norm, in one pass over memory
// forward and one backward (the operation: include/praxino/ops/norm.h). Arithmetic in float;
// deterministic: sums in an order that follows from shape and alignment, no atomics. Widths that
// are multiples of 8 up to 4096, at pointers aligned to 16 bytes, are read once and kept in
// registers; others are read twice, an element at a time. Pointers are to device memory and may not
// overlap. Launchers only queue work on the stream; they are thread-safe.

#include "kernels/frame_rows.h"
#include "kernels/launch.h"

namespace praxino::kernels {

/// sum = x + gate * branch; y = sum * inverse * (1 + scale) + shift,
/// inverse = 1 / sqrt(mean(sum^2) + 1e-6).
struct GateAddNorm {
  const float* x = nullptr;      // frames x tokens x width
  const void* branch = nullptr;  // as x
  const float* gate = nullptr;   // frames x width
  const float* scale = nullptr;
  const float* shift = nullptr;
  float* sum = nullptr;      // as x
  void* y = nullptr;         // as x
  float* inverse = nullptr;  // frames x tokens
  FrameRows shape;
  Element element = Element::kFloat;  // of branch and y
};
/// Any number of rows, 0 included; widths from 1 to kMaxRowWidth. kRefused otherwise.
Status launch_gate_add_norm(const GateAddNorm& params, Stream stream);

/// What is null is not computed: grad_x, grad_branch, or the three sums over tokens together.
/// A gradient that did not come in is null and counts as zeros. Without that of y the gradient of x
/// is grad_sum as it is: then grad_x, grad_scale and grad_shift must be null.
struct GateAddNormBackward {
  const float* sum = nullptr;
  const void* branch = nullptr;
  const float* gate = nullptr;
  const float* scale = nullptr;
  const float* inverse = nullptr;   // as the forward pass wrote it
  const float* grad_sum = nullptr;  // of the sum, where others use it
  const void* grad = nullptr;       // of y
  float* grad_x = nullptr;
  void* grad_branch = nullptr;
  float* grad_gate = nullptr;  // frames x width: sums over tokens
  float* grad_scale = nullptr;
  float* grad_shift = nullptr;
  float* workspace = nullptr;  // chunk_workspace(shape, 3) floats
  FrameRows shape;
  Element element = Element::kFloat;  // of branch, grad and grad_branch
};
Status launch_gate_add_norm_backward(const GateAddNormBackward& params, Stream stream);

}  // namespace praxino::kernels
