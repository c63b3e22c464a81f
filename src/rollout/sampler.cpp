#include "rollout/sampler.h"

#include <c10/util/Exception.h>

#include "praxino/objective/objective.h"

namespace praxino {

at::Tensor sample_frame(const PredictClean& predict, at::Tensor noise, int64_t steps) {
  TORCH_CHECK(steps >= 1, "sample_frame: needs at least one step, got ", steps);
  const double step = 1.0 / static_cast<double>(steps);
  at::Tensor z = std::move(noise);
  for (int64_t k = 0;; ++k) {
    const double tau = static_cast<double>(k) * step;
    const at::Tensor x_hat = predict(z, tau).clamp(-1.0, 1.0);
    // Not left to euler_step: tau + step is not exactly 1 for every K.
    if (k + 1 == steps) return x_hat;
    z = euler_step(z, x_hat, tau, step);
  }
}

}  // namespace praxino
