#pragma once
// What the model learns from: how clean tokens are corrupted, how a prediction is judged, how one
// is sampled. Convention: signal level tau in [0,1], tau = 1 is clean data; z = (1 - tau) * noise +
// tau * data; one tau a frame.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "praxino/config/run.h"

namespace praxino {

/// What identifies the draws of one batch: every draw is a function of (seed, stream, sample
/// number).
struct SampleKeys {
  uint64_t seed = 1;
  std::vector<int64_t> samples;  // B
};

/// What the model sees, and its target.
struct Corrupted {
  at::Tensor z;             // B T N D
  at::Tensor signal;        // B T
  at::Tensor target;        // B T N D: clean tokens
  at::Tensor weight;        // B T: of each frame's loss
  at::Tensor hide_actions;  // B, bool: train this clip without actions
};

/// Scalars on the device.
struct Loss {
  at::Tensor total;                                       // differentiable
  std::vector<std::pair<std::string, at::Tensor>> terms;  // detached, for the log: "mse"
};

/// Immutable: thread-safe.
class Objective {
 public:
  virtual ~Objective() = default;
  virtual Corrupted corrupt(const at::Tensor& tokens, const SampleKeys& keys) const = 0;
  virtual Loss loss(const at::Tensor& prediction, const Corrupted& input) const = 0;
};

std::unique_ptr<Objective> make_objective(const ObjectiveConfig& config);

/// One Euler step of the x-prediction flow: z + d (x_hat - z) / (1 - tau); returns x_hat exactly
/// when tau + d == 1. Works on any shape; source: docs/recipes.md section "sampler".
at::Tensor euler_step(const at::Tensor& z, const at::Tensor& x_hat, double tau, double step);

/// Clean tokens mixed with noise at one level: (1 - tau) * noise + tau * tokens.
at::Tensor mix_noise(const at::Tensor& tokens, const at::Tensor& noise, double tau);

/// Standard normal values that depend on (seed, stream, number) alone. Made on the CPU and moved to
/// `device`: the same bits for all devices beside processors of one kind. Another kind of processor
/// may differ in the last bits, because LibTorch's generator has variants for instruction sets. On
/// at::kMeta nothing is drawn.
at::Tensor keyed_normal(at::IntArrayRef shape, uint64_t seed, std::string_view stream,
                        uint64_t number, at::Device device = at::Device(at::kCPU));

}  // namespace praxino
