#pragma once
// The update of all parameters in one pass over memory: AdamW, and the element-wise part of Muon
// (the operations: src/ops/parameter_update.h). Arithmetic in float; every element is
// its own, so results do not depend on the grid. Pieces of 8 elements move 16 bytes an access where
// all pointers of a parameter allow, others one element. Clipping, learning rate and the decision
// to skip are read from device memory: nothing waits for the host. Where the step is skipped, no
// byte of weights, moments, averages or copies is written. Launchers only queue work on the stream;
// they are thread-safe.

#include "kernels/parameter_chunks.h"
#include "kernels/step_values.h"

namespace praxino::kernels {

/// AdamW (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2), with g the clipped gradient and r
/// the rate: m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2;
/// w <- (1 - r decay) w - r (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon).
/// Then, where they exist: average <- average + weight_of_average (w - average); copy <- w.
struct AdamW {
  ParameterList list = {};
  GradientList gradients = {};
  const float* values = nullptr;  // of the step (kernels/step_values.h)
  float beta1 = 0;
  float beta2 = 0;
  float epsilon = 0;
  Element copy = Element::kBf16;  // the type of the copies
};
/// kRefused for sizes below zero and missing tables.
Status launch_adamw(const AdamW& params, Stream stream);

/// Muon's momentum, with g the clipped gradient: m <- momentum m + (1 - momentum) g;
/// direction = (1 - momentum) g + momentum m. Where the step is skipped, directions are zero.
struct MuonMomentum {
  ParameterList list = {};
  GradientList gradients = {};
  const float* values = nullptr;
  float* directions = nullptr;  // a parameter's begins at its offset
  float momentum = 0;
};
Status launch_muon_momentum(const MuonMomentum& params, Stream stream);

/// w <- (1 - r decay) w - r scale direction; average and copy as AdamW's.
struct MuonApply {
  ParameterList list = {};
  const void* directions = nullptr;
  const float* values = nullptr;
  float scale = 1;
  Element direction = Element::kFloat;
  Element copy = Element::kBf16;
};
Status launch_muon_apply(const MuonApply& params, Stream stream);

}  // namespace praxino::kernels
