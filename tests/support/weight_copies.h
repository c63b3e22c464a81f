#pragma once
// What tests ask of the bfloat16 copies of weights.

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "praxino/layers/parameters.h"
#include "support/tensors.h"

namespace praxino::testing {

inline int64_t matrices(const Parameters& parameters) {
  return std::ranges::count(parameters.all(), ParameterRole::kMatrix, &Parameter::role);
}

/// How many matrices have a copy that is theirs. Each must be what rounding gives.
inline int64_t current_copies(const Parameters& parameters) {
  int64_t current = 0;
  for (const Parameter& p : parameters.all()) {
    const at::Tensor copy = p.copy ? p.copy->of(p.value) : at::Tensor();
    if (!copy.defined()) continue;
    ++current;
    EXPECT_TRUE(same_bits(copy, p.value.detach().to(at::kBFloat16))) << p.name;
  }
  return current;
}

/// Counts how often this thread rounds one of some weights to bfloat16: by a conversion of its own,
/// or into a copy that is kept. One a thread.
class WeightCasts {
 public:
  explicit WeightCasts(const Parameters& parameters) {
    for (const Parameter& p : parameters.all()) weights_.insert(p.value.const_data_ptr());
    own_ = this;
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&tell).needsInputs(true));
  }
  ~WeightCasts() { at::removeCallback(handle_); }
  WeightCasts(const WeightCasts&) = delete;
  WeightCasts& operator=(const WeightCasts&) = delete;

  /// Since the last call.
  int64_t take() { return std::exchange(count_, 0); }

 private:
  // Every conversion ends in this operation.
  static std::unique_ptr<at::ObserverContext> tell(const at::RecordFunction& function) {
    if (std::string_view(function.name()) != "aten::copy_") return nullptr;
    const auto inputs = function.inputs();
    const at::Tensor to = inputs[0].toTensor(), from = inputs[1].toTensor();
    if (to.scalar_type() == at::kBFloat16 && from.scalar_type() == at::kFloat &&
        own_->weights_.contains(from.const_data_ptr())) {
      ++own_->count_;
    }
    return nullptr;
  }
  static inline thread_local WeightCasts* own_ = nullptr;
  std::set<const void*> weights_;
  int64_t count_ = 0;
  at::CallbackHandle handle_;
};

}  // namespace praxino::testing
