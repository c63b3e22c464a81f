#include "operands.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <c10/util/Exception.h>

namespace praxino::ops {

void refuse_double_backward(const char* operation) {
  TORCH_CHECK(!at::GradMode::is_enabled(), operation,
              ": the gradient of a gradient is not there; take ops::formula for it");
}

at::Tensor dense(const at::Tensor& gradient) {
  return gradient.defined() ? gradient.contiguous() : gradient;
}

namespace cuda {

std::optional<kernels::Element> element_of(at::ScalarType type) {
  if (type == at::kFloat) return kernels::Element::kFloat;
  if (type == at::kBFloat16) return kernels::Element::kBf16;
  return std::nullopt;
}

bool is_float(const at::Tensor& tensor, at::IntArrayRef sizes, const at::Tensor& on) {
  return tensor.scalar_type() == at::kFloat && tensor.sizes() == sizes &&
         tensor.device() == on.device();
}

at::Tensor aligned(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.contiguous();
  return kernels::aligned_16(dense.const_data_ptr()) ? dense : dense.clone();
}

std::optional<int64_t> token_stride(const at::Tensor& x) {
  const int64_t heads = x.size(3), width = x.size(4);
  int64_t token = heads * width, tokens = 1;  // of a single token; in the dimensions so far
  for (const int64_t dim : {2, 1, 0}) {
    if (x.size(dim) == 1) continue;
    if (tokens == 1) token = x.stride(dim);
    if (x.stride(dim) != token * tokens) return std::nullopt;
    tokens *= x.size(dim);
  }
  const bool together = (width == 1 || x.stride(4) == 1) && (heads == 1 || x.stride(3) == width);
  return together ? std::optional(token) : std::nullopt;
}

at::Tensor gradient_of(const at::Tensor& value, bool wanted) {
  return wanted ? at::empty_like(value) : at::Tensor();
}

kernels::FrameRows frame_rows(const at::Tensor& x) {
  return {.frames = x.size(0) * x.size(1), .tokens = x.size(2), .width = x.size(3)};
}

}  // namespace cuda
}  // namespace praxino::ops
