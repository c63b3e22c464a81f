// The plain meaning of Hopper's instructions, on the emulator. A GPU runs the same probes.
#include <gtest/gtest.h>

#include "kernels/device/launch.cuh"
#include "kernels/device/tile_map.cuh"
#include "kernels/emulated_gpu.h"
#include "kernels/expect_probes.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;

class Hopper : public ::testing::TestWithParam<uint64_t> {
 protected:
  testing::EmulatedGpu gpu_{GetParam()};
};

TEST_P(Hopper, MultipliesTilesInEveryForm) { testing::expect_all_products(gpu_); }
TEST_P(Hopper, CopiesTilesOfUpToFiveDimensionsAcrossEveryEdge) { testing::expect_all_tiles(gpu_); }
TEST_P(Hopper, SwizzlesUnitsOf16BytesByTheirRow) { testing::expect_swizzle(gpu_); }
TEST_P(Hopper, HandsTilesThroughARingOfBarriers) { testing::expect_ring(gpu_); }
TEST_P(Hopper, TakesTurnsByNamedBarriers) { testing::expect_turns(gpu_); }

INSTANTIATE_TEST_SUITE_P(Seeds, Hopper, ::testing::Range<uint64_t>(1, 5));

TEST(TileMaps, RefuseWhatTheCopyEngineDoesNotTake) {
  CudaOnCpu cuda;
  float* data = cuda.allocate<float>(4096, "data");
  const device::TensorShape right{.data = data,
                                  .element = Element::kFloat,
                                  .dimensions = 2,
                                  .sizes = {8, 8},
                                  .strides = {1, 8},
                                  .box = {8, 8}};
  const auto refuses = [](const device::TensorShape& shape) {
    device::TileMap map;
    return device::make_tile_map(map, shape).code == kRefused.code;
  };
  EXPECT_FALSE(refuses(right));
  const auto with = [&](auto change) {
    device::TensorShape shape = right;
    change(shape);
    return shape;
  };
  EXPECT_TRUE(refuses(with([](auto& s) { s.data = static_cast<float*>(s.data) + 1; })));
  EXPECT_TRUE(refuses(with([](auto& s) { s.dimensions = 6; })));
  EXPECT_TRUE(refuses(with([](auto& s) { s.dimensions = 0; })));
  EXPECT_TRUE(refuses(with([](auto& s) { s.sizes[1] = 0; })));
  EXPECT_TRUE(refuses(with([](auto& s) { s.strides[1] = 6; })));
  EXPECT_TRUE(refuses(with([](auto& s) { s.strides[1] = 0; })));
  EXPECT_TRUE(refuses(with([](auto& s) { s.box[0] = 6; })));
  EXPECT_TRUE(refuses(with([](auto& s) { s.box[1] = 257; })));
  EXPECT_TRUE(refuses(with([](auto& s) { s.swizzled = true; })));
  EXPECT_FALSE(refuses(with([](auto& s) {
    s.swizzled = true;
    s.box[0] = 32;
  })));
}

}  // namespace
}  // namespace praxino::kernels
