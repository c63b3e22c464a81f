#pragma once
// Counts how often this thread rounds one of some weights to bfloat16: by a conversion of its own,
// or into a copy that is kept.

#include <ATen/core/Tensor.h>
#include <ATen/record_function.h>

#include <memory>
#include <set>
#include <string_view>
#include <utility>

#include "praxino/layers/parameters.h"

namespace praxino::testing {

/// One a thread.
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
