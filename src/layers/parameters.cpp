#include "praxino/layers/parameters.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <utility>

namespace praxino {
at::Tensor Parameters::add(std::string name, at::Tensor initial, ParameterRole role,
                           std::optional<Slice> slice) {
  TORCH_CHECK(initial.defined() && initial.scalar_type() == at::kFloat, "parameter ", name,
              ": the initial value must be float32");
  TORCH_CHECK(find(name) == nullptr, "parameter ", name, " is added twice");
  at::Tensor value = initial.detach().contiguous();
  value.requires_grad_(true);
  index_.emplace(name, all_.size());
  all_.push_back({std::move(name), value, role, std::move(slice)});
  return value;
}

const Parameter* Parameters::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &all_[found->second];
}

int64_t Parameters::count() const {
  int64_t total = 0;
  for (const Parameter& parameter : all_) {
    const at::IntArrayRef sizes = parameter.value.sizes();
    total += parameter.slice ? c10::multiply_integers(parameter.slice->whole_sizes(sizes))
                             : parameter.value.numel();
  }
  return total;
}

std::vector<at::Tensor> Parameters::values() const {
  std::vector<at::Tensor> values;
  values.reserve(all_.size());
  for (const Parameter& parameter : all_) values.push_back(parameter.value);
  return values;
}

ParameterScope::ParameterScope(Parameters& parameters, at::Generator generator, at::Device device,
                               std::string prefix)
    : parameters_(&parameters),
      generator_(std::move(generator)),
      device_(device),
      prefix_(std::move(prefix)) {}

ParameterScope ParameterScope::child(std::string_view name) const {
  return {*parameters_, generator_, device_, prefix_ + std::string(name) + "."};
}

at::TensorOptions ParameterScope::host() const {
  return at::TensorOptions().dtype(at::kFloat).device(device_.is_meta() ? at::kMeta : at::kCPU);
}

at::Tensor ParameterScope::add(std::string_view name, const at::Tensor& on_host, ParameterRole role,
                               const std::optional<Slice>& slice) const {
  const at::Tensor own = slice ? slice->part_of(on_host) : on_host;
  return parameters_->add(prefix_ + std::string(name), own.to(device_), role, slice);
}

at::Tensor ParameterScope::zeros(std::string_view name, at::IntArrayRef shape, ParameterRole role,
                                 const std::optional<Slice>& slice) const {
  return add(name, at::zeros(shape, host()), role, slice);
}

at::Tensor ParameterScope::ones(std::string_view name, at::IntArrayRef shape,
                                ParameterRole role) const {
  return add(name, at::ones(shape, host()), role);
}

at::Tensor ParameterScope::normal(std::string_view name, at::IntArrayRef shape, double deviation,
                                  ParameterRole role, const std::optional<Slice>& slice) const {
  const at::Tensor values = at::empty(shape, host());
  return add(name, values.normal_(0, deviation, generator_), role, slice);
}

}  // namespace praxino
