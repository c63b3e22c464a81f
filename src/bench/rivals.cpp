#include "bench/rivals.h"

#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "praxino/ops/kernels.h"

namespace praxino::bench {
namespace {

using at::Tensor;
using ops::KernelFamily;

Tensor by_flash_attention_2(const Tensor& q, const Tensor& k, const Tensor& v, bool causal) {
  return std::get<0>(at::_scaled_dot_product_flash_attention(q, k, v, 0.0, causal, false));
}

Tensor by_cudnn(const Tensor& q, const Tensor& k, const Tensor& v, bool causal) {
  return std::get<0>(
      at::_scaled_dot_product_cudnn_attention(q, k, v, std::nullopt, true, 0.0, causal, false));
}

Tensor by_dispatcher(const Tensor& q, const Tensor& k, const Tensor& v, bool causal) {
  return at::scaled_dot_product_attention(q, k, v, std::nullopt, 0.0, causal);
}

/// Without a family's kernels while it lives.
class KernelsOff {
 public:
  explicit KernelsOff(KernelFamily family) : family_(family), used_(ops::uses_kernels(family)) {
    ops::use_kernels(family_, false);
  }
  ~KernelsOff() { ops::use_kernels(family_, used_); }
  KernelsOff(const KernelsOff&) = delete;
  KernelsOff& operator=(const KernelsOff&) = delete;

 private:
  KernelFamily family_;
  bool used_;
};

}  // namespace

Function by_libtorch(Function run) {
  return [run = std::move(run)](const Inputs& in) {
    const KernelsOff norm(KernelFamily::kNorm), attention(KernelFamily::kAttention);
    return run(in);
  };
}

std::vector<Library> libraries(Scale scale, at::ScalarType type) {
  if (scale != Scale::kGpu || type != at::kBFloat16) return {{"SDPA", by_dispatcher}};
  return {{"FA2", by_flash_attention_2}, {"cuDNN", by_cudnn}};
}

}  // namespace praxino::bench
