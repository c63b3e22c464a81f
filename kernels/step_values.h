#pragma once
// What a step knows about all gradients together, decided on the device: two passes. The first sums
// the squares of each chunk; the second, one block, adds the chunks in their order in double, and
// writes what the updates read. Deterministic: the order follows from the sizes alone. Launchers
// only queue work on the stream; they are thread-safe.

#include "kernels/parameter_chunks.h"

namespace praxino::kernels {

/// The float32 values of a step, by position.
enum StepValue {
  kNorm,              // of all gradients, before clipping
  kSkipped,           // 1 where norm or loss is not finite, else 0
  kGradientScale,     // min(1, clip / norm); 1 without clipping
  kRate,              // the factor of the learning rates
  kFirstCorrection,   // 1 / (1 - beta1^t), t the number of this step
  kSecondCorrection,  // 1 / sqrt(1 - beta2^t)
  kAverageWeight,     // of the new weights in the average
  kStepValues = 8
};

/// base^exponent, exponent >= 0, by squaring: exact to a few last bits of double.
constexpr PRAXINO_HOST_DEVICE double power(double base, int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent /= 2, base *= base) {
    if (exponent % 2 == 1) result *= base;
  }
  return result;
}

struct SquaredSums {
  ParameterList list = {};
  GradientList gradients = {};
  float* sums = nullptr;  // a chunk each
};
Status launch_squared_sums(const SquaredSums& params, Stream stream);

/// Counters grow by one where the step is taken, else nothing changes but the values.
struct StepVerdict {
  const float* sums = nullptr;
  int64_t count = 0;
  const float* loss = nullptr;  // a scalar
  const float* rate = nullptr;  // a scalar
  float* steps = nullptr;       // a counter: steps taken
  float* updates = nullptr;     // a counter: updates of the averages; null: there are none
  float* values = nullptr;      // kStepValues
  double clip = 0;              // 0: none
  double beta1 = 0;
  double beta2 = 0;
  double average_decay = 0;  // weight = max(9 / (10 + updates), 1 - decay)
};
Status launch_step_verdict(const StepVerdict& params, Stream stream);

}  // namespace praxino::kernels
