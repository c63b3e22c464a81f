#pragma once
// Small host tensors on their way to the device, without waiting for it.

#include <ATen/core/Tensor.h>

namespace praxino::ops {

/// A copy on `device`: from page-locked memory and asynchronous for a GPU (a plain copy would wait
/// for all work that is queued there), the tensor itself on the CPU.
at::Tensor upload(const at::Tensor& host, const at::Device& device);

}  // namespace praxino::ops
