#include "parallel/own_norms.h"

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <utility>

namespace praxino {

OwnNorms::OwnNorms(size_t parameters, const at::Tensor& like)
    : norms_(parameters),
      nothing_(at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(like.device()))) {}

void OwnNorms::add(const std::vector<size_t>& members, const std::vector<at::Tensor>& gradients) {
  if (members.empty()) return;
  const std::vector<at::Tensor> norms = at::_foreach_norm(gradients, 2, at::kFloat);
  for (size_t i = 0; i < members.size(); ++i) {
    at::Tensor& sum = norms_[members[i]];
    sum = sum.defined() ? sum + norms[i] : norms[i];
  }
}

at::Tensor OwnNorms::take() {
  std::vector<at::Tensor> all(norms_.size(), nothing_);
  for (size_t i = 0; i < all.size(); ++i) {
    if (norms_[i].defined()) all[i] = std::exchange(norms_[i], at::Tensor());
  }
  return at::stack(all);
}

}  // namespace praxino
