#pragma once
// Diffusion forcing (Chen et al., arXiv 2407.01392) with x-prediction and the ramp weight of
// Dreamer 4 (arXiv 2509.24527): every frame has its own signal level.

#include "praxino/objective/objective.h"

namespace praxino {

class DiffusionForcing final : public Objective {
 public:
  explicit DiffusionForcing(const ObjectiveConfig& config) : config_(config) {}
  Corrupted corrupt(const at::Tensor& tokens, const SampleKeys& keys) const override;
  Loss loss(const at::Tensor& prediction, const Corrupted& input) const override;

 private:
  ObjectiveConfig config_;
};

/// The signal levels of one clip, a pure function of (config, seed, sample). In a share
/// `clean_context` of the clips the frames before a random cut are nearly clean: 1 - tau uniform in
/// [0, 1.5 context_noise], cut off at 1.
std::vector<float> draw_signal(const ObjectiveConfig& config, uint64_t seed, int64_t sample,
                               int64_t frames);

/// 0.9 tau + 0.1 (Dreamer 4), or 1.
double frame_weight(const ObjectiveConfig& config, double tau);

}  // namespace praxino
