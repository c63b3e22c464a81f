#pragma once
// Where a thread stands, what its block shares, and the barriers of block and warp. Blocks and
// grids have one dimension; a warp is 32 threads with consecutive numbers.

#include <cstdint>

#include "kernels/device/site.cuh"

namespace praxino::kernels::device {

inline constexpr int kWarp = 32;
inline constexpr uint32_t kFullWarp = 0xffffffffU;

PRAXINO_DEVICE int thread_index() {
#if defined(__CUDACC__)
  return static_cast<int>(threadIdx.x);
#else
  return cpu::place().thread;
#endif
}

PRAXINO_DEVICE int block_threads() {
#if defined(__CUDACC__)
  return static_cast<int>(blockDim.x);
#else
  return cpu::place().threads;
#endif
}

PRAXINO_DEVICE int64_t block_index() {
#if defined(__CUDACC__)
  return blockIdx.x;
#else
  return cpu::place().block;
#endif
}

PRAXINO_DEVICE int64_t grid_blocks() {
#if defined(__CUDACC__)
  return gridDim.x;
#else
  return cpu::place().blocks;
#endif
}

PRAXINO_DEVICE int lane_index() { return thread_index() % kWarp; }
PRAXINO_DEVICE int warp_index() { return thread_index() / kWarp; }

/// The block's dynamic shared memory, aligned to 1024 bytes; its size is the launch's.
PRAXINO_DEVICE float* shared_floats() {
#if defined(__CUDACC__)
  extern __shared__ __align__(1024) float4 dynamic_shared_memory[];
  return reinterpret_cast<float*>(dynamic_shared_memory);
#else
  return static_cast<float*>(cpu::shared_memory());
#endif
}

/// Every thread of the block must come here; what they wrote before, all see after.
PRAXINO_DEVICE void sync_block([[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  __syncthreads();
#else
  cpu::sync_block(site);
#endif
}

/// The same for the lanes that `mask` names.
PRAXINO_DEVICE void sync_warp(uint32_t mask = kFullWarp,
                              [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  __syncwarp(mask);
#else
  cpu::exchange(cpu::Collective::kSync, mask, 0, 0, site);
#endif
}

}  // namespace praxino::kernels::device
