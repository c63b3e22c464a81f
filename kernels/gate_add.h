#pragma once
// x + gate * branch, the gate by frame, and its gradient (the operation:
// include/praxino/ops/norm.h). One pass over memory each. Arithmetic in float; deterministic: sums
// in an order that follows from shape and alignment, no atomics. Widths that are multiples of 8 up
// to 4096, at pointers aligned to 16 bytes, move 16 bytes an access, others one element. Pointers
// are to device memory and may not overlap. Launchers only queue work on the stream; they are
// thread-safe.

#include "kernels/frame_rows.h"
#include "kernels/launch.h"

namespace praxino::kernels {

struct GateAdd {
  const float* x = nullptr;      // frames x tokens x width
  const float* gate = nullptr;   // frames x width
  const void* branch = nullptr;  // as x
  float* y = nullptr;            // as x
  FrameRows shape;
  Element element = Element::kFloat;  // of branch
};
/// Any number of rows, 0 included; widths from 1 to kMaxRowWidth. kRefused otherwise.
Status launch_gate_add(const GateAdd& params, Stream stream);

/// The gradient of x is that of y. One that is null is not computed.
struct GateAddBackward {
  const float* grad = nullptr;  // of y
  const float* gate = nullptr;
  const void* branch = nullptr;
  void* grad_branch = nullptr;
  float* grad_gate = nullptr;  // frames x width: sums over tokens
  float* workspace = nullptr;  // chunk_workspace(shape, 1) floats
  FrameRows shape;
  Element element = Element::kFloat;  // of branch and its gradient
};
Status launch_gate_add_backward(const GateAddBackward& params, Stream stream);

}  // namespace praxino::kernels
