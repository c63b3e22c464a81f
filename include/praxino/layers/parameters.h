#pragma once
// Named parameters. Layers are plain structs that hold tensor handles; what owns the list is one
// Parameters object. (torch::nn::Module would bring 267,000 lines of headers and string-keyed
// children for the same.)

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "praxino/layers/slice.h"
#include "praxino/layers/weight_copies.h"

namespace praxino {

/// How an optimizer treats a parameter.
enum class ParameterRole {
  kMatrix,      // [out, in] inside the blocks: Muon, weight decay
  kProjection,  // matrices at the border (in, out, conditioning): AdamW, weight decay
  kVector,      // gains, biases, embeddings, registers: AdamW, no decay
};

/// What a parameter begins with.
struct Initial {
  double value = 0;      // of every element; or,
  double deviation = 0;  // where it is more than nothing, normal numbers around zero
};

struct Parameter {
  std::string name;  // module path: "blocks.0.attention.query.weight"
  at::Tensor value;  // leaf, requires_grad, float32 (the master)
  ParameterRole role = ParameterRole::kMatrix;
  std::optional<Slice> slice = {};  // which part of the model's tensor `value` is; none: all of it
  Initial initial = {};
  std::shared_ptr<WeightCopy> copy = {};  // of a matrix

  std::vector<int64_t> whole_sizes() const;  // of the model's tensor
};

/// What this rank's part of a parameter begins with, on the CPU. It is drawn whole, so that neither
/// the device nor the number of ranks that share it changes it. `generator`: as the parameters
/// before it have left it.
at::Tensor first_value(const Parameter& parameter, const at::Generator& generator);

/// All parameters of a model, in order of use. Handles stay valid: values are only ever changed in
/// place.
class Parameters {
 public:
  /// Adds and returns the handle. Takes over the memory of `initial` (float32, any device): do not
  /// use it elsewhere. A name twice is a programming error (c10::Error).
  at::Tensor add(std::string name, at::Tensor initial, ParameterRole role,
                 std::optional<Slice> slice = {});
  /// The same of one that is described in full.
  at::Tensor add(Parameter parameter);
  const std::vector<Parameter>& all() const { return all_; }
  const Parameter* find(std::string_view name) const;
  int64_t count() const;  // elements of the model: of whole tensors where this rank holds parts
  std::vector<at::Tensor> values() const;

 private:
  std::vector<Parameter> all_;
  std::map<std::string, size_t, std::less<>> index_;
};

/// Where layers make their parameters: a prefix, a device and the generator of initial values.
/// Values are drawn on the CPU (a CPU generator) and moved, so that a seed gives the same model on
/// every device. On at::kMeta there are no values: a model of any size is made without memory.
/// Without a generator nothing is drawn: parameters read as NaN, and have their shape but one
/// element of memory, until first_value() or something else is put in their place.
class ParameterScope {
 public:
  ParameterScope(Parameters& parameters, at::Generator generator, at::Device device,
                 std::string prefix = {});
  ParameterScope child(std::string_view name) const;  // prefix + name + "."
  /// With a slice: this rank's part of a tensor of `shape`, whose values do not depend on how many
  /// ranks share it.
  at::Tensor zeros(std::string_view name, at::IntArrayRef shape, ParameterRole role,
                   const std::optional<Slice>& slice = {}) const;
  at::Tensor ones(std::string_view name, at::IntArrayRef shape, ParameterRole role) const;
  at::Tensor normal(std::string_view name, at::IntArrayRef shape, double deviation,
                    ParameterRole role, const std::optional<Slice>& slice = {}) const;
  /// Of a parameter that was made here; null for those that are no matrices.
  std::shared_ptr<WeightCopy> copy_of(std::string_view name) const;

 private:
  at::Tensor add(Parameter parameter, at::IntArrayRef shape) const;
  Parameters* parameters_;  // borrowed
  at::Generator generator_;
  at::Device device_;
  std::string prefix_;
};

}  // namespace praxino
