#include "action_encoder.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <numbers>

namespace praxino {
namespace {

constexpr int64_t kWaves = 3;

int64_t feature_count(const ActionField& field) {
  if (field.kind == "button") return 1;
  if (field.kind == "discrete") return field.size;
  return 2 + 2 * kWaves;
}

// A number in its range: linear, compressed (symlog, so that small values stay distinct), and three
// waves.
at::Tensor number_features(const at::Tensor& x, const ActionField& field) {
  const double reach = field.reach();
  const at::Tensor linear = x / reach;
  std::vector<at::Tensor> parts = {linear, x.sign() * x.abs().log1p() / std::log1p(reach)};
  for (int64_t i = 0; i < kWaves; ++i) {
    const at::Tensor angle = linear * (std::numbers::pi * 0.5 * static_cast<double>(1 << i));
    parts.push_back(angle.sin());
    parts.push_back(angle.cos());
  }
  return at::cat(parts, -1);
}

at::Tensor field_features(const at::Tensor& x, const ActionField& field) {  // x: B T 1
  if (field.kind == "button") return x * 2 - 1;
  if (field.kind == "discrete")
    return x.eq(at::arange(field.size, x.options())).to(x.scalar_type());
  return number_features(x, field);
}

}  // namespace

ActionEncoder::ActionEncoder(const ParameterScope& scope, std::vector<ActionField> fields,
                             int64_t width)
    : fields_(std::move(fields)) {
  const LinearOptions plain{.role = ParameterRole::kProjection};
  for (const ActionField& field : fields_) {
    inputs_.emplace_back(scope.child("fields." + field.name), feature_count(field), width, plain);
  }
  if (!fields_.empty()) {
    bias_ = scope.zeros("bias", {width}, ParameterRole::kVector);
    output_ = Linear(scope.child("output"), width, width,
                     {.bias = true, .role = ParameterRole::kProjection});
  }
  unknown_ = scope.normal("unknown", {width}, 0.02, ParameterRole::kVector);
}

at::Tensor ActionEncoder::forward(const at::Tensor& values, const at::Tensor& known) const {
  if (fields_.empty()) return unknown_.expand({known.size(0), known.size(1), unknown_.size(0)});
  at::Tensor hidden = bias_;
  for (size_t i = 0; i < fields_.size(); ++i) {
    hidden = hidden +
             inputs_[i](field_features(values.narrow(-1, static_cast<int64_t>(i), 1), fields_[i]));
  }
  return at::where(known.unsqueeze(-1), output_(at::silu(hidden)), unknown_);
}

}  // namespace praxino
