#pragma once
// The loops of the fused operations over raw memory, one call a range of rows; src/ops/fused.cpp
// spreads the ranges over threads. Element types: float, or bfloat16 as its 16 bits (Bf16). No
// LibTorch.

#include <cstdint>

namespace praxino::ops::cpu {

using Bf16 = uint16_t;

/// Rows of `width` floats; every `tokens` rows share one frame's scale and shift.
struct NormModulate {
  const float* x;
  const float* scale;  // frames x width
  const float* shift;
  float* inverse;  // rows: 1 / rms
  int64_t width;
  int64_t tokens;
};
void norm_modulate(const NormModulate& p, float* y, int64_t begin_frame, int64_t end_frame);
void norm_modulate(const NormModulate& p, Bf16* y, int64_t begin_frame, int64_t end_frame);

struct NormModulateBackward {
  const float* x;
  const float* scale;
  const float* inverse;
  float* grad_x;
  float* grad_scale;  // frames x width, overwritten
  float* grad_shift;
  int64_t width;
  int64_t tokens;
};
void norm_modulate_backward(const NormModulateBackward& p, const float* grad, int64_t begin_frame,
                            int64_t end_frame);
void norm_modulate_backward(const NormModulateBackward& p, const Bf16* grad, int64_t begin_frame,
                            int64_t end_frame);

struct GateAdd {
  const float* x;
  const float* gate;  // frames x width
  float* y;
  int64_t width;
  int64_t tokens;
};
void gate_add(const GateAdd& p, const float* branch, int64_t begin_frame, int64_t end_frame);
void gate_add(const GateAdd& p, const Bf16* branch, int64_t begin_frame, int64_t end_frame);

struct GateAddBackward {
  const float* grad;
  const float* gate;
  float* grad_gate;  // frames x width, overwritten
  int64_t width;
  int64_t tokens;
};
void gate_add_backward(const GateAddBackward& p, const float* branch, float* grad_branch,
                       int64_t begin_frame, int64_t end_frame);
void gate_add_backward(const GateAddBackward& p, const Bf16* branch, Bf16* grad_branch,
                       int64_t begin_frame, int64_t end_frame);

/// to += x
void add(const float* x, float* to, int64_t begin, int64_t end);

/// Rows of 2F in, rows of F out.
void swiglu(const float* ab, float* y, int64_t half, int64_t begin_row, int64_t end_row);
void swiglu(const Bf16* ab, Bf16* y, int64_t half, int64_t begin_row, int64_t end_row);
void swiglu_backward(const float* ab, const float* grad, float* grad_ab, int64_t half,
                     int64_t begin_row, int64_t end_row);
void swiglu_backward(const Bf16* ab, const Bf16* grad, Bf16* grad_ab, int64_t half,
                     int64_t begin_row, int64_t end_row);

/// x: R S H K; tables: S K/2; inverse: R S H; y and its gradient have x's element type.
struct NormRotate {
  const float* gain;
  const float* cos;
  const float* sin;
  float* inverse;
  int64_t positions;
  int64_t heads;
  int64_t head_width;
};
void norm_rotate(const NormRotate& p, const float* x, float* y, int64_t begin, int64_t end);
void norm_rotate(const NormRotate& p, const Bf16* x, Bf16* y, int64_t begin, int64_t end);
/// grad_gain: R K partial sums, overwritten for rows begin .. end-1.
void norm_rotate_backward(const NormRotate& p, const float* x, const float* grad, float* grad_x,
                          float* grad_gain, int64_t begin, int64_t end);
void norm_rotate_backward(const NormRotate& p, const Bf16* x, const Bf16* grad, Bf16* grad_x,
                          float* grad_gain, int64_t begin, int64_t end);

/// Rows of `width` scores become softmax(scale * scores).
void softmax(float* rows, int64_t width, float scale, int64_t begin_row, int64_t end_row);
void softmax(Bf16* rows, int64_t width, float scale, int64_t begin_row, int64_t end_row);
/// Rows of gradients of the probabilities p become gradients of the unscaled scores: scale * p * (g
/// - sum(p * g)).
void softmax_backward(const float* p, float* grad, int64_t width, float scale, int64_t begin_row,
                      int64_t end_row);
void softmax_backward(const Bf16* p, Bf16* grad, int64_t width, float scale, int64_t begin_row,
                      int64_t end_row);

}  // namespace praxino::ops::cpu
