#include "praxino/objective/objective.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>

#include "diffusion_forcing.h"
#include "praxino/base/random.h"

namespace praxino {

std::unique_ptr<Objective> make_objective(const ObjectiveConfig& config) {
  return std::make_unique<DiffusionForcing>(config);
}

at::Tensor euler_step(const at::Tensor& z, const at::Tensor& x_hat, double tau, double step) {
  // The last step would divide zero by zero in exact arithmetic's place: it is x_hat by definition.
  if (tau + step >= 1.0) return x_hat;
  return z + (x_hat - z) * (step / (1.0 - tau));
}

at::Tensor mix_noise(const at::Tensor& tokens, const at::Tensor& noise, double tau) {
  return noise * (1.0 - tau) + tokens * tau;
}

at::Tensor keyed_normal(at::IntArrayRef shape, uint64_t seed, std::string_view stream,
                        uint64_t number, at::Device device) {
  if (device.is_meta())
    return at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(device));
  const auto generator =
      at::make_generator<at::CPUGeneratorImpl>(derive_seed(seed, stream, number));
  return at::randn(shape, generator, at::TensorOptions().dtype(at::kFloat)).to(device);
}

}  // namespace praxino
