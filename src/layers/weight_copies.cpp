#include "praxino/layers/weight_copies.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <vector>

#include "praxino/layers/parameters.h"

namespace praxino {
namespace {

/// Elements: 512 bytes, as allocations begin on a GPU. What multiplies chooses by alignment.
constexpr int64_t kAlignment = 256;

int64_t aligned(int64_t elements) { return (elements + kAlignment - 1) / kAlignment * kAlignment; }

bool is_copied(const Parameter& parameter) {
  // Without a version counter nothing tells when a copy is out of date.
  return parameter.copy && !parameter.value.is_inference();
}

}  // namespace

at::Tensor WeightCopy::of(const at::Tensor& weight) const {
  const bool current =
      written_ && weight._version() == version_ && weight.const_data_ptr() == address_;
  return current ? memory_ : at::Tensor();
}

void WeightCopy::written(const at::Tensor& weight) {
  version_ = weight._version();
  address_ = weight.const_data_ptr();
  written_ = true;
}

const at::Tensor& WeightCopy::lend() {
  lent_ = true;
  return memory_;
}

void keep_copies(const Parameters& parameters) {
  int64_t elements = 0;
  for (const Parameter& parameter : parameters.all()) {
    if (!is_copied(parameter)) continue;
    TORCH_CHECK(!parameter.copy->memory_.defined(), "keep_copies: ", parameter.name,
                " has a copy already");
    TORCH_CHECK(!parameter.copy->lent_, "keep_copies: an optimizer updates ", parameter.name,
                " already, without a copy");
    elements += aligned(parameter.value.numel());
  }
  if (elements == 0) return;
  const at::Tensor flat =
      at::empty({elements}, parameters.all().front().value.detach().options().dtype(at::kBFloat16));
  int64_t begin = 0;
  for (const Parameter& parameter : parameters.all()) {
    if (!is_copied(parameter)) continue;
    const int64_t count = parameter.value.numel();
    parameter.copy->memory_ = flat.narrow(0, begin, count).view(parameter.value.sizes());
    begin += aligned(count);
  }
}

void refresh_copies(const Parameters& parameters) {
  std::vector<at::Tensor> copies, weights;
  for (const Parameter& parameter : parameters.all()) {
    if (!parameter.copy || !parameter.copy->memory().defined()) continue;
    if (parameter.copy->of(parameter.value).defined()) continue;
    copies.push_back(parameter.copy->memory());
    weights.push_back(parameter.value.detach());
    parameter.copy->written(parameter.value);
  }
  if (copies.empty()) return;
  const at::NoGradGuard no_grad;
  at::_foreach_copy_(copies, weights);
}

void forget_copies(const Parameters& parameters) {
  for (const Parameter& parameter : parameters.all()) {
    if (parameter.copy) parameter.copy->forget();
  }
}

}  // namespace praxino
