#include <algorithm>
#include <cmath>
#include <numbers>

#include "praxino/optim/optimizer.h"

namespace praxino {
namespace {

/// What follows the warm-up.
double curve(const OptimConfig& config, double progress) {
  if (config.schedule == "cosine") return 0.5 * (1 + std::cos(std::numbers::pi * progress));
  if (config.schedule == "wsd" && progress > 1 - config.decay) {
    return (1 - progress) / config.decay;
  }
  return 1;
}

}  // namespace

double schedule_factor(const OptimConfig& config, int64_t step, double progress) {
  // The first step already moves: with a rate of zero it would only cost time.
  const double warm =
      config.warmup == 0
          ? 1
          : std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(config.warmup));
  return warm * curve(config, std::clamp(progress, 0.0, 1.0));
}

}  // namespace praxino
