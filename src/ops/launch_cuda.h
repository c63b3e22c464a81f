#pragma once
// What every src/ops/*_cuda.cpp does around a launch. Thread-safe.

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>

#include "kernels/launch.h"
#include "operands.h"

namespace praxino::ops::cuda {

/// True where the tensor lies on a GPU that runs the portable kernels, and has elements.
bool on_capable_gpu(const at::Tensor& tensor);

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
