#pragma once
// What every src/ops/*_cuda.cpp does around a launch. Thread-safe.

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>

#include <optional>

#include "kernels/frame_rows.h"
#include "kernels/launch.h"

namespace praxino::ops::cuda {

/// True where the tensor lies on a GPU that runs the portable kernels, and has elements.
bool on_capable_gpu(const at::Tensor& tensor);

/// The element type as kernels know it; nothing for others.
std::optional<kernels::Element> element_of(at::ScalarType type);

/// True for float32 of exactly these sizes on the device of `on`: what kernels take for the small
/// operands. Others, broadcast ones for example, are the formula's.
bool is_float(const at::Tensor& tensor, at::IntArrayRef sizes, const at::Tensor& on);

/// For a backward pass: throws c10::Error where its own gradient is asked for, which kernels do not
/// have.
void refuse_double_backward(const char* operation);

/// Memory for a gradient: like `value`, undefined where nobody wants it. Its address: null then.
at::Tensor gradient_of(const at::Tensor& value, bool wanted);
template <class T = void>
T* address_of(const at::Tensor& gradient) {
  return gradient.defined() ? static_cast<T*>(gradient.mutable_data_ptr()) : nullptr;
}

/// B T N D as rows of frames.
kernels::FrameRows frame_rows(const at::Tensor& x);

/// Makes the tensor's device the current one, and knows the stream on which its work is queued.
class Launching {
 public:
  explicit Launching(const at::Tensor& tensor);
  kernels::Stream stream() const;
  /// Throws c10::Error with the runtime's own words where the launch failed.
  static void check(kernels::Status status, const char* operation);

 private:
  c10::DeviceGuard guard_;
  c10::Device device_;
};

}  // namespace praxino::ops::cuda
