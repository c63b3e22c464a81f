#include "praxino/layers/parameters.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <c10/util/Exception.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace praxino {

std::vector<int64_t> Parameter::whole_sizes() const {
  return slice ? slice->whole_sizes(value.sizes()) : value.sizes().vec();
}

at::Tensor first_value(const Parameter& parameter, const at::Generator& generator) {
  const at::Device host(parameter.value.is_meta() ? at::kMeta : at::kCPU);
  at::Tensor whole =
      at::empty(parameter.whole_sizes(), at::TensorOptions().dtype(at::kFloat).device(host));
  if (parameter.initial.deviation > 0) {
    whole.normal_(0, parameter.initial.deviation, generator);
  } else {
    whole.fill_(parameter.initial.value);
  }
  return parameter.slice ? parameter.slice->part_of(whole) : whole;
}

at::Tensor Parameters::add(std::string name, at::Tensor initial, ParameterRole role,
                           std::optional<Slice> slice) {
  if (initial.defined()) initial = initial.contiguous();
  return add({std::move(name), std::move(initial), role, std::move(slice)});
}

at::Tensor Parameters::add(Parameter parameter) {
  const at::Tensor& initial = parameter.value;
  TORCH_CHECK(initial.defined() && initial.scalar_type() == at::kFloat, "parameter ",
              parameter.name, ": the initial value must be float32");
  TORCH_CHECK(find(parameter.name) == nullptr, "parameter ", parameter.name, " is added twice");
  parameter.value = initial.detach().requires_grad_(true);
  if (parameter.role == ParameterRole::kMatrix) parameter.copy = std::make_shared<WeightCopy>();
  index_.emplace(parameter.name, all_.size());
  all_.push_back(std::move(parameter));
  return all_.back().value;
}

const Parameter* Parameters::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &all_[found->second];
}

int64_t Parameters::count() const {
  int64_t total = 0;
  for (const Parameter& parameter : all_) {
    total += c10::multiply_integers(parameter.whole_sizes());
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

at::Tensor ParameterScope::add(Parameter parameter, at::IntArrayRef shape) const {
  std::vector<int64_t> sizes = shape.vec();
  if (const std::optional<Slice>& slice = parameter.slice) {
    sizes[sizes.size() - 2 + static_cast<size_t>(slice->dim)] = slice->length(slice->rank);
  }
  parameter.name = prefix_ + parameter.name;
  parameter.value = at::full({1}, std::numeric_limits<double>::quiet_NaN(),
                             at::TensorOptions().dtype(at::kFloat).device(device_))
                        .expand(sizes);
  if (generator_.defined()) parameter.value = first_value(parameter, generator_).to(device_);
  return parameters_->add(std::move(parameter));
}

std::shared_ptr<WeightCopy> ParameterScope::copy_of(std::string_view name) const {
  const Parameter* const made = parameters_->find(prefix_ + std::string(name));
  TORCH_CHECK(made != nullptr, "ParameterScope: there is no parameter ", prefix_, name);
  return made->copy;
}

at::Tensor ParameterScope::zeros(std::string_view name, at::IntArrayRef shape, ParameterRole role,
                                 const std::optional<Slice>& slice) const {
  return add({.name = std::string(name), .value = {}, .role = role, .slice = slice}, shape);
}

at::Tensor ParameterScope::ones(std::string_view name, at::IntArrayRef shape,
                                ParameterRole role) const {
  return add({.name = std::string(name), .value = {}, .role = role, .initial = {.value = 1}},
             shape);
}

at::Tensor ParameterScope::normal(std::string_view name, at::IntArrayRef shape, double deviation,
                                  ParameterRole role, const std::optional<Slice>& slice) const {
  return add({.name = std::string(name),
              .value = {},
              .role = role,
              .slice = slice,
              .initial = {.deviation = deviation}},
             shape);
}

}  // namespace praxino
