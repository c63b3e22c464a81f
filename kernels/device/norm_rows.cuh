#pragma once
// RMSNorm with modulation of rows in registers (kernels/frame_rows.h).

#include "kernels/device/raw_vectors.cuh"
#include "kernels/frame_rows.h"

namespace praxino::kernels::device {

/// `inverse`: of the row's root mean square.
PRAXINO_DEVICE Vector<kRowVector> modulated(Vector<kRowVector> x, float inverse,
                                            const Vector<kRowVector>& scale,
                                            const Vector<kRowVector>& shift) {
  PRAXINO_UNROLL
  for (int i = 0; i < kRowVector; ++i) x.v[i] = x.v[i] * inverse * (1.0F + scale.v[i]) + shift.v[i];
  return x;
}

}  // namespace praxino::kernels::device
