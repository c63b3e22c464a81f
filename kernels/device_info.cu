#include "kernels/device_info.h"

#include <cuda_runtime_api.h>

#include <cstring>

namespace praxino::kernels {

const char* status_text(Status status) {
  return cudaGetErrorString(static_cast<cudaError_t>(status.code));
}

Status cuda_versions(CudaVersions& versions) {
  const cudaError_t error = cudaRuntimeGetVersion(&versions.runtime);
  if (error != cudaSuccess) return {error};
  return {cudaDriverGetVersion(&versions.driver)};
}

Status device_count(int& count) {
  count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    count = 0;
    cudaGetLastError();  // an absent driver must not be blamed on the next call
  }
  return {error};
}

Status device_info(int device, DeviceInfo& info) {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) {
    cudaGetLastError();
    return {error};
  }
  static_assert(sizeof(info.name) >= sizeof(properties.name));
  std::memcpy(info.name, properties.name, sizeof(properties.name));
  info.major = properties.major;
  info.minor = properties.minor;
  info.multiprocessors = properties.multiProcessorCount;
  info.memory_bytes = properties.totalGlobalMem;
  return {};
}

}  // namespace praxino::kernels
