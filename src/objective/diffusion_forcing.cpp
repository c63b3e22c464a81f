#include "diffusion_forcing.h"

#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

#include "praxino/base/random.h"
#include "praxino/ops/upload.h"

namespace praxino {
namespace {

constexpr double kContextSpread = 1.5;

bool hides_actions(const ObjectiveConfig& config, uint64_t seed, int64_t sample) {
  return Random(derive_seed(seed, "action_dropout", static_cast<uint64_t>(sample))).uniform() <
         config.action_dropout;
}

// Where random numbers are drawn; tokens without memory have noise without memory.
at::Device host_of(const at::Tensor& tokens) {
  return at::Device(tokens.is_meta() ? at::kMeta : at::kCPU);
}

}  // namespace

std::vector<float> draw_signal(const ObjectiveConfig& config, uint64_t seed, int64_t sample,
                               int64_t frames) {
  Random random(derive_seed(seed, "signal", static_cast<uint64_t>(sample)));
  std::vector<float> tau(static_cast<size_t>(frames));
  for (float& level : tau) {
    const double drawn = config.signal == "logit_normal" ? 1.0 / (1.0 + std::exp(-random.normal()))
                                                         : random.uniform();
    level = static_cast<float>(drawn);
  }
  if (random.uniform() < config.clean_context) {
    const int64_t cut = 1 + random.integer(frames - 1);
    for (int64_t t = 0; t < cut; ++t) {
      const double noise = random.uniform(0.0, kContextSpread * config.context_noise);
      tau[static_cast<size_t>(t)] = static_cast<float>(1.0 - std::min(noise, 1.0));
    }
  }
  return tau;
}

double frame_weight(const ObjectiveConfig& config, double tau) {
  return config.ramp_weight ? 0.9 * tau + 0.1 : 1.0;
}

Corrupted DiffusionForcing::corrupt(const at::Tensor& tokens, const SampleKeys& keys) const {
  const int64_t frames = tokens.size(1);
  std::vector<float> signal, weight;
  std::vector<uint8_t> hidden;
  std::vector<at::Tensor> noise;
  for (const int64_t sample : keys.samples) {
    for (const float tau : draw_signal(config_, keys.seed, sample, frames)) {
      signal.push_back(tau);
      weight.push_back(static_cast<float>(frame_weight(config_, tau)));
    }
    hidden.push_back(hides_actions(config_, keys.seed, sample) ? 1 : 0);
    noise.push_back(keyed_normal(tokens.sizes().slice(1), keys.seed, "noise",
                                 static_cast<uint64_t>(sample), host_of(tokens)));
  }
  const auto on_device = [&](const at::Tensor& t) { return ops::upload(t, tokens.device()); };
  Corrupted result;
  result.signal = on_device(at::tensor(signal).view({-1, frames}));
  result.weight = on_device(at::tensor(weight).view({-1, frames}));
  result.hide_actions = on_device(at::tensor(hidden)).to(at::kBool);
  result.target = tokens;
  const at::Tensor tau = result.signal.unsqueeze(-1).unsqueeze(-1);
  result.z = on_device(at::stack(noise)) * (1 - tau) + tokens * tau;
  return result;
}

Loss DiffusionForcing::loss(const at::Tensor& prediction, const Corrupted& input) const {
  const at::Tensor error = (prediction - input.target).square().mean({2, 3});  // B T
  const at::Tensor total = (error * input.weight).mean();
  return {.total = total, .terms = {{"mse", error.detach().mean()}}};
}

}  // namespace praxino
