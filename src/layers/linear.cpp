#include "praxino/layers/linear.h"

#include <c10/util/Exception.h>

#include <cmath>

namespace praxino {

Linear::Linear(const ParameterScope& scope, int64_t in, int64_t out, const LinearOptions& options) {
  const double deviation =
      options.deviation < 0 ? 1.0 / std::sqrt(static_cast<double>(in)) : options.deviation;
  weight = deviation == 0
               ? scope.zeros("weight", {out, in}, options.role, options.slice)
               : scope.normal("weight", {out, in}, deviation, options.role, options.slice);
  copy_ = scope.copy_of("weight");
  TORCH_CHECK(!options.bias || !options.slice, "Linear: a sliced weight has no bias");
  if (options.bias) bias = scope.zeros("bias", {out}, ParameterRole::kVector);
}

ops::Matrix Linear::matrix() const { return {weight, copy_ ? copy_->of(weight) : at::Tensor()}; }

at::Tensor Linear::operator()(const at::Tensor& x) const { return ops::linear(x, matrix(), bias); }

}  // namespace praxino
