// In place of src/ops/launch_cuda.cpp: tensors of the CPU lie on a device that runs every kernel,
// which is the emulator (support/cuda_on_cpu/cuda_on_cpu.h).
#include <c10/util/Exception.h>

#include "ops/kernel_registry.h"
#include "ops/launch_cuda.h"

namespace praxino::ops::cuda {

kernels::Tier tier_of(const at::Device&) { return kernels::Tier::kHopper; }

bool on_capable_gpu(const at::Tensor& tensor) { return tensor.is_cpu() && tensor.numel() != 0; }

Launching::Launching(const at::Tensor& tensor)
    : guard_(tensor.device()), device_(tensor.device()) {}

kernels::Stream Launching::stream() const { return nullptr; }

void Launching::check(kernels::Status status, const char* operation) {
  TORCH_CHECK(status.ok(), operation, ": refused with status ", status.code);
}

}  // namespace praxino::ops::cuda
