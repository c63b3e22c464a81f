#pragma once
// What the planted faults of Hopper's instructions share: two tiles and barriers in shared memory,
// and a launch that tells how the emulator stopped it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/tile_map.cuh"
#include "kernels/device/wgmma.cuh"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels::testing {

using namespace device;

inline constexpr int kRows = 64;  // of a tile of 64 columns in bfloat16: 8 KiB
inline constexpr int kTileBytes = kRows * kBoxBytes;

struct Tiles {
  TileMap map;  // rows of 64
  float* out;   // 2 x 128
};

// What every kernel here finds in shared memory: two tiles, then barriers.
PRAXINO_DEVICE char* tile(int number) {
  return reinterpret_cast<char*>(shared_floats()) + number * kTileBytes;
}
PRAXINO_DEVICE Barrier* barrier(int number) { return reinterpret_cast<Barrier*>(tile(2)) + number; }

PRAXINO_DEVICE void make_barriers(int arrivals) {
  if (thread_index() == 0) {
    for (int i = 0; i < 4; ++i) init_barrier(barrier(i), arrivals);
    fence_barrier_init();
  }
  sync_block();
}

PRAXINO_DEVICE void load_rows(const Tiles& p, int row, int to, Barrier* behind) {
  load_tile<2>(tile(to), p.map, Corner{{0, row}}, behind);
}

// Both tiles have arrived, and every thread knows.
PRAXINO_DEVICE void load_both(const Tiles& p) {
  make_barriers(1);
  if (thread_index() == 0) {
    arrive_and_expect(barrier(0), 2 * kTileBytes);
    load_rows(p, 0, 0, barrier(0));
    load_rows(p, kRows, 1, barrier(0));
  }
  wait(barrier(0), 0);
}

PRAXINO_DEVICE MatrixTile operand(int number, int step = 0) {
  return operand_tile(shared_address(tile(number)), Major::kDepth, kRows, 0, step);
}

PRAXINO_DEVICE void multiply(Accumulator<64>& d, const MatrixTile& a, const MatrixTile& b,
                             Site site = PRAXINO_HERE) {
  multiply_tiles<Major::kDepth, Major::kDepth>(d, a, b, true, site);
}

using Kernel = void (*)(Tiles);

inline std::string fault_of(Kernel kernel, uint64_t seed, int threads) {
  praxino::testing::CudaOnCpu cuda({.seed = seed});
  const std::vector<Bf16> in(size_t{4} * kRows * kBoxColumns, to_bf16(0.5F));
  Tiles tiles{.map = {}, .out = cuda.allocate<float>(256, "out")};
  const TensorShape shape{.data = const_cast<Bf16*>(cuda.upload(in, "in")),
                          .dimensions = 2,
                          .sizes = {kBoxColumns, 4 * kRows},
                          .strides = {1, kBoxColumns},
                          .box = {kBoxColumns, kRows},
                          .swizzled = true};
  EXPECT_TRUE(make_tile_map(tiles.map, shape).ok());
  try {
    launch(kernel, {"planted", 1, threads, 2 * kTileBytes + 64}, tiles, nullptr);
  } catch (const praxino::testing::CudaFault& fault) {
    return fault.what();
  }
  return "";
}

inline void expect_fault(Kernel kernel, const ::testing::Matcher<std::string>& message,
                         int threads = kWarpgroup) {
  for (uint64_t seed = 1; seed <= 8; ++seed)
    EXPECT_THAT(fault_of(kernel, seed, threads), message) << "seed " << seed;
}

}  // namespace praxino::kernels::testing
