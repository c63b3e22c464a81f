#pragma once
// The two-fold rule: what a kernel gives in a type may be twice as far from the exact result as
// what its formula gives in that type, for the result and for every gradient. Exact is the formula
// in float, of inputs that the type holds.

#include <algorithm>

#include "support/tensors.h"

namespace praxino::testing {

/// One rounding of the type, relative to the largest value, for where the formula happens to be
/// exact. Of bfloat16: half a unit in the last of the largest value's 8 bits, which is 2^-9 of it
/// where it lies just below a power of two. Of float it is not a single rounding, which any other
/// order of a sum exceeds, but that of sums in another order and of fast arithmetic.
inline double one_rounding(at::ScalarType type) { return type == at::kBFloat16 ? 0x1p-9 : 2e-5; }

/// `got` against `exact`, where the formula gave `coarse`. `type`: of which `got` is a rounding.
inline ::testing::AssertionResult within_two_fold(const at::Tensor& got, const at::Tensor& coarse,
                                                  const at::Tensor& exact, at::ScalarType type) {
  // What cancels to nothing leaves the rounding of terms that are near one.
  constexpr double kNothing = 1e-2;
  if (got.sizes() != exact.sizes()) return ::testing::AssertionFailure() << "of other sizes";
  const auto error_of = [&](const at::Tensor& values) {
    return relative_error(values.cpu(), exact.cpu(), kNothing);
  };
  const double error = error_of(got), allowed = 2 * error_of(coarse) + one_rounding(type);
  if (error <= allowed) return ::testing::AssertionSuccess();  // not where one is NaN
  return ::testing::AssertionFailure() << "off by " << error << ", allowed are " << allowed;
}

/// A kernel, and its formula in any type.
struct TwoFold {
  Function kernel;  // in `type`
  std::function<at::Tensor(const std::vector<at::Tensor>&, at::ScalarType)> formula;
  std::vector<at::Tensor> inputs;  // float
  std::vector<size_t> rounded;     // which of them both take in the type
  at::ScalarType type = at::kFloat;
  // Those in float whose gradients are sums of what was rounded to the type on the way: of gains of
  // queries and keys, whose products with tensor cores come before.
  std::vector<size_t> sums_of_rounded = {};
};

/// With inputs that the type holds, so that rounding them costs neither side anything.
inline TwoFold with_rounded_inputs(TwoFold of) {
  for (const size_t i : of.rounded) of.inputs[i] = of.inputs[i].to(of.type).to(at::kFloat);
  return of;
}

/// What the result is weighted with where gradients are taken, of its sizes.
inline at::Tensor weight_for(const TwoFold& of, const at::Tensor& result) {
  return normal(result.sizes(), 99).to(of.type).to(at::kFloat);
}

/// The rule for the result and the gradient of every input. `gradients_of_kernel`, where not null,
/// receives these gradients.
inline ::testing::AssertionResult keeps_two_fold(
    const TwoFold& given, std::vector<at::Tensor>* gradients_of_kernel = nullptr) {
  const TwoFold of = with_rounded_inputs(given);
  const auto formula_in = [&](at::ScalarType type) {
    return [&of, type](const std::vector<at::Tensor>& in) { return of.formula(in, type); };
  };
  const Function coarse = formula_in(of.type), exact = formula_in(at::kFloat);
  const at::Tensor got = of.kernel(of.inputs), want = exact(of.inputs);
  const auto result = within_two_fold(got, coarse(of.inputs), want, got.scalar_type());
  if (!result) return ::testing::AssertionFailure() << "the result is " << result.message();
  const at::Tensor weight = weight_for(of, want);
  const auto got_gradients = gradients(of.kernel, of.inputs, weight),
             coarse_gradients = gradients(coarse, of.inputs, weight),
             exact_gradients = gradients(exact, of.inputs, weight);
  if (gradients_of_kernel != nullptr) *gradients_of_kernel = got_gradients;
  for (size_t i = 0; i < of.inputs.size(); ++i) {
    const bool in_type = std::count(of.rounded.begin(), of.rounded.end(), i) +
                             std::count(of.sums_of_rounded.begin(), of.sums_of_rounded.end(), i) >
                         0;
    const auto gradient = within_two_fold(got_gradients[i], coarse_gradients[i], exact_gradients[i],
                                          in_type ? of.type : at::kFloat);
    if (!gradient)
      return ::testing::AssertionFailure()
             << "the gradient of input " << i << " is " << gradient.message();
  }
  return ::testing::AssertionSuccess();
}

}  // namespace praxino::testing
