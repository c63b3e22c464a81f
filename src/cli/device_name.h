#pragma once
// A device in words.

#include <ATen/core/Tensor.h>

#include <string>

namespace praxino {

/// "cuda:0 NVIDIA H100, capability 9.0, CUDA 13.0, driver for 13.0"; the processor's name for a
/// CPU. Thread-safe.
std::string device_name(const at::Device& device);

}  // namespace praxino
