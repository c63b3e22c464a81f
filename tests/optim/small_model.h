#pragma once
// A handful of parameters of every role, and gradients to feed them.

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "praxino/layers/parameters.h"
#include "praxino/optim/optimizer.h"
#include "support/tensors.h"

namespace praxino::testing {

/// Two matrices of one shape, a tall one, a projection and a vector.
inline Parameters small_model(uint64_t seed = 1) {
  Parameters parameters;
  parameters.add("a.weight", normal({4, 6}, seed), ParameterRole::kMatrix);
  parameters.add("b.weight", normal({4, 6}, seed + 1), ParameterRole::kMatrix);
  parameters.add("tall.weight", normal({9, 3}, seed + 2), ParameterRole::kMatrix);
  parameters.add("in.weight", normal({5, 2}, seed + 3), ParameterRole::kProjection);
  parameters.add("gain", normal({7}, seed + 4), ParameterRole::kVector);
  return parameters;
}

inline void set_gradients(const Parameters& parameters, uint64_t seed, double scale = 1) {
  for (const Parameter& parameter : parameters.all()) {
    parameter.value.mutable_grad() = normal(parameter.value.sizes(), ++seed) * scale;
  }
}

/// One step from seeded gradients of a finite loss.
inline StepStats take_step(Optimizer& optimizer, const Parameters& parameters, uint64_t seed,
                           double rate = 1) {
  set_gradients(parameters, seed);
  return optimizer.step(normal({}), rate);
}

using Snapshot = std::map<std::string, at::Tensor>;

inline Snapshot snapshot(const Parameters& parameters,
                         const std::vector<std::pair<std::string, at::Tensor>>& state) {
  Snapshot copies;
  for (const Parameter& p : parameters.all()) copies["weight " + p.name] = p.value.detach().clone();
  for (const auto& [name, tensor] : state) copies[name] = tensor.clone();
  return copies;
}

/// The first tensor whose bits differ (-0 is not +0); empty: none.
inline std::string first_change(const Snapshot& before, const Snapshot& after) {
  if (before.size() != after.size()) return "the number of tensors";
  for (const auto& [name, tensor] : before) {
    if (!tensor.view(at::kInt).equal(after.at(name).view(at::kInt))) return name;
  }
  return {};
}

}  // namespace praxino::testing
