#pragma once
// Tensors as kernels take them: element types, sizes, how they lie in memory. Asks no device, so
// that tests see all of it without one. Pure, thread-safe.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "kernels/frame_rows.h"
#include "kernels/launch.h"

namespace praxino::ops {

/// For a backward pass: throws c10::Error where its own gradient is asked for, which neither
/// kernels nor loops have.
void refuse_double_backward(const char* operation);

/// The same values, dense; undefined stays so: a gradient that did not come in.
at::Tensor dense(const at::Tensor& gradient);

namespace cuda {

/// The element type as kernels know it; nothing for others.
std::optional<kernels::Element> element_of(at::ScalarType type);

/// True for float32 of exactly these sizes on the device of `on`: what kernels take for the small
/// operands. Others, broadcast ones for example, are the formula's.
bool is_float(const at::Tensor& tensor, at::IntArrayRef sizes, const at::Tensor& on);

/// Dense, and where 16-byte accesses may begin: the tensor itself, or a copy. (contiguous() keeps
/// the odd address of a dense part of another tensor.)
at::Tensor aligned(const at::Tensor& tensor);

/// B T N H K with the heads of a token together and tokens at even distances, frames and batch rows
/// following each other: that distance in elements, whatever the strides of dimensions of size 1.
/// Nothing for others.
std::optional<int64_t> token_stride(const at::Tensor& x);

/// Memory for a gradient: like `value`, undefined where nobody wants it. Its address: null then.
at::Tensor gradient_of(const at::Tensor& value, bool wanted);
template <class T = void>
T* address_of(const at::Tensor& gradient) {
  return gradient.defined() ? static_cast<T*>(gradient.mutable_data_ptr()) : nullptr;
}

/// B T N D as rows of frames.
kernels::FrameRows frame_rows(const at::Tensor& x);

}  // namespace cuda
}  // namespace praxino::ops
