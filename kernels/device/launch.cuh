#pragma once
// The one way to launch a kernel: a call of the runtime for the device, a loop over blocks and
// threads on the CPU. Host code.

#include <algorithm>

#include "kernels/device/site.cuh"
#include "kernels/launch.h"

#if defined(__CUDACC__)
#include <cuda_runtime_api.h>
#endif

namespace praxino::kernels::device {

struct Grid {
  const char* kernel;  // its name, for reports
  int64_t blocks;
  int threads;              // of a block
  size_t shared_bytes = 0;  // of a block, at most shared_limit()
};

/// What a kernel may have without asking for more.
inline constexpr size_t kCommonShared = 48 * 1024;

/// Bytes of shared memory that a block may have on the current device: 99 KiB on 8.6, 8.9 and 12.x,
/// 163 KiB on 8.0, 227 KiB on 9.0 and 10.x.
inline size_t shared_limit() {
#if defined(__CUDACC__)
  int device = 0, bytes = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) !=
          cudaSuccess) {
    cudaGetLastError();
    return kCommonShared;  // the launch itself will return the error
  }
  return static_cast<size_t>(bytes);
#else
  return cpu::shared_limit();
#endif
}

/// Queues kernel(params) on the stream. The parameters travel by value, at most 4 KiB. kRefused
/// where a block wants more shared memory than the device has.
template <class Params>
Status launch(void (*kernel)(Params), const Grid& grid, Params params,
              [[maybe_unused]] Stream stream) {
  if (grid.shared_bytes > kCommonShared && grid.shared_bytes > shared_limit()) return kRefused;
#if defined(__CUDACC__)
  static_assert(cudaErrorInvalidValue == kRefused.code);
  if (grid.shared_bytes > kCommonShared) {
    const cudaError_t allowed = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                     cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                     static_cast<int>(grid.shared_bytes));
    if (allowed != cudaSuccess) {
      cudaGetLastError();
      return {allowed};
    }
  }
  void* arguments[] = {&params};
  const cudaError_t error = cudaLaunchKernel(
      reinterpret_cast<const void*>(kernel), dim3(static_cast<unsigned>(grid.blocks)),
      dim3(static_cast<unsigned>(grid.threads)), arguments, grid.shared_bytes, stream);
  if (error != cudaSuccess) cudaGetLastError();  // it is told here, not by whoever asks next
  return {error};
#else
  cpu::run({grid.kernel, grid.blocks, grid.threads, grid.shared_bytes}, [&] { kernel(params); });
  return {};
#endif
}

/// Of the current device.
inline int multiprocessors() {
#if defined(__CUDACC__)
  int device = 0, count = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) {
    cudaGetLastError();
    return 1;  // the launch itself will return the error
  }
  return count;
#else
  return cpu::multiprocessors();
#endif
}

/// Blocks for `units` of independent work, each block taking every so many-th unit: enough to fill
/// the device a few times over, so that the last round is short, and never more than there is work.
inline int64_t blocks_for(int64_t units) {
  constexpr int64_t kBlocksOfAMultiprocessor = 32;
  return std::min(units, kBlocksOfAMultiprocessor * multiprocessors());
}

}  // namespace praxino::kernels::device
