// Kernels that follow the rules run on the emulator as on the device.
#include "support/cuda_on_cpu/cuda_on_cpu.h"

#include <gtest/gtest.h>

#include <numeric>

#include "kernels/device/copy_async.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/team.cuh"

namespace praxino::kernels {
namespace {

using namespace device;
using praxino::testing::CudaOnCpu;

std::vector<float> counting(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0F);
  return values;
}

struct Copy {
  const float* from;
  float* to;
  int count;
};

PRAXINO_KERNEL(64)
reverse_blocks_kernel(Copy p) {
  float* shared = shared_floats();
  const int last = block_threads() - 1, i = thread_index();
  for (int64_t b = block_index() * 64; b < p.count; b += grid_blocks() * 64) {
    store(shared + i, load(p.from + b + i));
    sync_block();
    store(p.to + b + i, load(shared + last - i));
    sync_block();
  }
}

TEST(CudaOnCpu, RunsEveryThreadOfEveryBlock) {
  for (uint64_t seed = 1; seed < 20; ++seed) {
    CudaOnCpu cuda({.seed = seed});
    const Copy copy{cuda.upload(counting(640), "from"), cuda.allocate<float>(640, "to"), 640};
    launch(reverse_blocks_kernel, {"reverse_blocks", 3, 64, 256}, copy, nullptr);
    const std::vector<float> to = cuda.download(copy.to, 640);
    for (size_t i = 0; i < 640; ++i)
      EXPECT_EQ(to[i], static_cast<float>(i / 64 * 64 + 63 - i % 64));
  }
}

PRAXINO_KERNEL(96)
shuffles_kernel(Copy p) {
  const int lane = lane_index(), out = thread_index() * 4;
  const float value = load(p.from + thread_index());
  store(p.to + out, shuffle_xor(value, 5));
  store(p.to + out + 1, shuffle_down(value, 3));
  store(p.to + out + 2, shuffle(value, (lane + 1) % kWarp));
  store(p.to + out + 3, group_sum(value, 8));
}

TEST(CudaOnCpu, ShufflesMoveValuesBetweenTheLanesOfAWarp) {
  CudaOnCpu cuda;
  const Copy copy{cuda.upload(counting(96), "from"), cuda.allocate<float>(384, "to"), 96};
  launch(shuffles_kernel, {"shuffles", 1, 96}, copy, nullptr);
  const std::vector<float> to = cuda.download(copy.to, 384);
  for (size_t i = 0; i < 96; ++i) {
    const size_t warp = i / 32 * 32, lane = i % 32;
    EXPECT_EQ(to[4 * i], static_cast<float>(warp + (lane ^ 5)));
    EXPECT_EQ(to[4 * i + 1], static_cast<float>(lane < 29 ? i + 3 : i));
    EXPECT_EQ(to[4 * i + 2], static_cast<float>(warp + (lane + 1) % 32));
    EXPECT_EQ(to[4 * i + 3], static_cast<float>(i / 8 * 64 + 28));
  }
}

PRAXINO_KERNEL(32)
two_halves_kernel(Copy p) {
  const int lane = lane_index();
  const float value = load(p.from + lane);
  if (lane < 16) {
    store(p.to + lane, shuffle_xor(value, 1, 0x0000ffffU));
  } else {
    store(p.to + lane, shuffle_xor(value, 2, 0xffff0000U));
  }
}

TEST(CudaOnCpu, LanesThatDoNotNameEachOtherMayDiverge) {
  CudaOnCpu cuda;
  const Copy copy{cuda.upload(counting(32), "from"), cuda.allocate<float>(32, "to"), 32};
  launch(two_halves_kernel, {"two_halves", 1, 32}, copy, nullptr);
  const std::vector<float> to = cuda.download(copy.to, 32);
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(to[i], static_cast<float>(i ^ (i < 16 ? 1 : 2)));
}

PRAXINO_KERNEL(64)
neighbours_of_a_warp_kernel(Copy p) {
  float* shared = shared_floats() + warp_index() * kWarp;
  const int lane = lane_index();
  store(shared + lane, load(p.from + thread_index()));
  sync_warp();
  store(p.to + thread_index(), load(shared + (lane + 1) % kWarp));
}

TEST(CudaOnCpu, ABarrierOfTheWarpOrdersItsLanes) {
  CudaOnCpu cuda;
  const Copy copy{cuda.upload(counting(64), "from"), cuda.allocate<float>(64, "to"), 64};
  launch(neighbours_of_a_warp_kernel, {"neighbours_of_a_warp", 1, 64, 256}, copy, nullptr);
  EXPECT_EQ(cuda.download(copy.to, 64)[31], 0);
  EXPECT_EQ(cuda.download(copy.to, 64)[32], 33);
}

PRAXINO_KERNEL(128)
block_sum_kernel(Copy p) {
  float sum = 0;
  for (int i = 0; i < p.count; ++i)
    sum += team_sum<true>(load(p.from + i * 128 + thread_index()), 128, shared_floats());
  store(p.to + thread_index(), sum);
}

TEST(CudaOnCpu, ATeamOfABlockSumsInEveryThread) {
  CudaOnCpu cuda;
  const Copy copy{cuda.upload(counting(384), "from"), cuda.allocate<float>(128, "to"), 3};
  launch(block_sum_kernel, {"block_sum", 1, 128, 16}, copy, nullptr);
  EXPECT_EQ(cuda.download(copy.to, 128), std::vector<float>(128, 383.0F * 384 / 2));
}

// Two stages: the next 16 bytes of a thread travel while it works on the last.
PRAXINO_KERNEL(32)
pipeline_kernel(Copy p) {
  float* stage[2] = {shared_floats() + 8 * thread_index(),
                     shared_floats() + 8 * thread_index() + 4};
  const float* from = p.from + 4 * thread_index();
  copy_16_async(stage[0], from);
  commit_copies();
  for (int i = 0; i < p.count; ++i) {
    if (i + 1 < p.count) copy_16_async(stage[(i + 1) % 2], from + (i + 1) * 128);
    commit_copies();
    wait_copies<1>();
    store_vector(p.to + i * 128 + 4 * thread_index(), load_vector<4>(stage[i % 2]));
  }
}

TEST(CudaOnCpu, AsynchronousCopiesArriveByTheirWait) {
  for (uint64_t seed = 1; seed < 20; ++seed) {
    CudaOnCpu cuda({.seed = seed});
    const Copy copy{cuda.upload(counting(640), "from"), cuda.allocate<float>(640, "to"), 5};
    launch(pipeline_kernel, {"pipeline", 1, 32, 1024}, copy, nullptr);
    EXPECT_EQ(cuda.download(copy.to, 640), counting(640));
  }
}

// Rows of 8 floats whose last ones are not there.
PRAXINO_KERNEL(32)
ragged_kernel(Copy p) {
  float* own = shared_floats() + 4 * thread_index();
  const bool there = 4 * thread_index() < p.count;
  copy_16_async_or_zero(own, p.from + 4 * thread_index(), there);
  commit_copies();
  wait_copies<0>();
  store_vector(p.to + 4 * thread_index(), load_vector<4>(own));
}

TEST(CudaOnCpu, AsynchronousCopiesPastTheEndAreZeros) {
  for (uint64_t seed = 1; seed < 10; ++seed) {
    CudaOnCpu cuda({.seed = seed});
    const Copy copy{cuda.upload(counting(80), "from"), cuda.allocate<float>(128, "to"), 80};
    launch(ragged_kernel, {"ragged", 1, 32, 512}, copy, nullptr);
    auto want = counting(80);
    want.resize(128);
    EXPECT_EQ(cuda.download(copy.to, 128), want);
  }
}

PRAXINO_KERNEL(32)
last_float_kernel(Copy p) {
  float* last = shared_floats() + p.count - 1;
  if (thread_index() == 0) store(last, load(p.from));
  sync_block();
  store(p.to + thread_index(), load(last));
}

TEST(CudaOnCpu, ABlockHasAsMuchSharedMemoryAsTheDevice) {
  CudaOnCpu cuda({.shared_limit = 99 * 1024});
  const int floats = 99 * 256;
  const Copy copy{cuda.upload(counting(2), "from"), cuda.allocate<float>(32, "to"), floats};
  EXPECT_EQ(shared_limit(), floats * sizeof(float));
  EXPECT_EQ(launch(last_float_kernel, {"last", 1, 32, 4 * floats + 1}, copy, nullptr).code,
            kRefused.code);
  EXPECT_EQ(cuda.launches(), 0);
  EXPECT_TRUE(launch(last_float_kernel, {"last", 1, 32, 4 * floats}, copy, nullptr).ok());
  EXPECT_EQ(cuda.download(copy.to, 32), std::vector<float>(32, 0));
}

PRAXINO_KERNEL(8)
round_trip_kernel(Copy p) {
  const int at = 8 * thread_index();
  Bf16* half = reinterpret_cast<Bf16*>(shared_floats()) + at;
  store_vector(half, load_vector<8>(p.from + at));
  store_vector(p.to + at, load_vector<8>(half));
}

TEST(CudaOnCpu, VectorsOfBf16AreTheRoundedFloats) {
  CudaOnCpu cuda;
  std::vector<float> values = counting(64);
  for (float& value : values) value = value * 1.001F - 7;
  const Copy copy{cuda.upload(values, "from"), cuda.allocate<float>(64, "to"), 64};
  launch(round_trip_kernel, {"round_trip", 1, 8, 128}, copy, nullptr);
  const std::vector<float> to = cuda.download(copy.to, 64);
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(to[i], to_float(to_bf16(values[i])));
}

PRAXINO_KERNEL(4)
increment_kernel(Copy p) { store(p.to + thread_index(), 1 + load(p.to + thread_index())); }

TEST(CudaOnCpu, ALaunchSeesWhatTheOneBeforeItWrote) {
  CudaOnCpu cuda;
  const Copy reverse{cuda.upload(counting(64), "from"), cuda.allocate<float>(64, "to"), 64};
  launch(reverse_blocks_kernel, {"reverse_blocks", 1, 64, 256}, reverse, nullptr);
  launch(increment_kernel, {"increment", 1, 4}, reverse, nullptr);
  EXPECT_EQ(cuda.download(reverse.to, 64)[3], 61);
  EXPECT_EQ(cuda.download(reverse.to, 64)[4], 59);
  EXPECT_EQ(cuda.launches(), 2);
}

TEST(CudaOnCpu, MemoryThatNothingWroteIsNotANumber) {
  CudaOnCpu cuda;
  const auto fresh = cuda.download(cuda.allocate<float>(3, "fresh"), 3);
  for (const float value : fresh) EXPECT_NE(value, value);
}

TEST(CudaOnCpu, OnlyOneAtATime) {
  const CudaOnCpu cuda;
  EXPECT_THROW(CudaOnCpu(), std::logic_error);
}

TEST(CudaOnCpu, WithoutItNothingCanBeLaunched) {
  EXPECT_THROW(launch(increment_kernel, {"increment", 1, 4}, Copy{}, nullptr), std::logic_error);
}

}  // namespace
}  // namespace praxino::kernels
