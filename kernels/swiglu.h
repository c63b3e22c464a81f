#pragma once
// silu(a) * b for rows ab = [a | b], and its gradient (the operation: include/praxino/ops/norm.h).
// One pass over memory each, 16 bytes an access where half and pointers allow, else one element.
// Arithmetic in float; deterministic. Pointers are to device memory and may not overlap. Launchers
// only queue work on the stream; they are thread-safe.

#include <cstdint>

#include "kernels/launch.h"

namespace praxino::kernels {

struct SwiGlu {
  const void* ab = nullptr;  // rows x 2 half
  void* y = nullptr;         // rows x half
  int64_t rows = 0;
  int64_t half = 0;
  Element element = Element::kFloat;  // of all of them
};
/// Any number of rows, 0 included; half from 1. kRefused otherwise.
Status launch_swiglu(const SwiGlu& params, Stream stream);

struct SwiGluBackward {
  const void* ab = nullptr;    // rows x 2 half
  const void* grad = nullptr;  // rows x half: of y
  void* grad_ab = nullptr;     // rows x 2 half, overwritten
  int64_t rows = 0;
  int64_t half = 0;
  Element element = Element::kFloat;
};
Status launch_swiglu_backward(const SwiGluBackward& params, Stream stream);

}  // namespace praxino::kernels
