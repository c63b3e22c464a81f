// The passes that add chunks up, executed on the CPU, against sums in double.
#include "kernels/chunk_sums.h"

#include <gtest/gtest.h>

#include "kernels/numbers.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using testing::distance;
using testing::Doubles;
using testing::exact;

struct Case {
  FrameRows shape;
  int sums;
};

// The chunks are an input; the groups lie behind them.
Doubles added(const Case& one, uint64_t seed) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  const int64_t width = one.shape.width;
  std::vector<float> workspace =
      testing::normal<float>(all_chunks(one.shape) * one.sums * width, 1);
  workspace.resize(static_cast<size_t>(chunk_workspace(one.shape, one.sums)));
  const auto count = static_cast<size_t>(one.shape.frames * width);
  ChunkSums p{
      .workspace = cuda.state(workspace, "workspace"), .sums = one.sums, .shape = one.shape};
  for (int sum = 0; sum < one.sums; ++sum) p.results[sum] = cuda.allocate<float>(count, "result");
  EXPECT_TRUE(launch_add_chunks(p, nullptr).ok());
  Doubles results;
  for (int sum = 0; sum < one.sums; ++sum) {
    const Doubles part = exact(cuda.download(p.results[sum], count));
    results.insert(results.end(), part.begin(), part.end());
  }
  return results;
}

Doubles want_of(const Case& one) {
  const int64_t width = one.shape.width, chunks = chunks_of_frame(one.shape);
  const auto values = testing::normal<float>(all_chunks(one.shape) * one.sums * width, 1);
  Doubles results(static_cast<size_t>(one.sums * one.shape.frames * width));
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t at = static_cast<int64_t>(i), column = at % width, row = at / width;
    const int64_t sum = row % one.sums, frame = row / one.sums / chunks;
    results[static_cast<size_t>((sum * one.shape.frames + frame) * width + column)] +=
        double{values[i]};
  }
  return results;
}

// From two chunks to more than a group of groups; widths around a warp.
TEST(ChunkSumsKernels, EqualTheSumsInDouble) {
  for (const Case& one : {Case{{3, 17, 1}, 2}, Case{{2, 40, 33}, 3}, Case{{1, 64 * 16, 31}, 2},
                          Case{{1, 64 * 16 + 1, 32}, 2}, Case{{2, 131 * 16 + 5, 72}, 1},
                          Case{{1, 1000 * 16, 72}, 3}, Case{{1, 4200 * 64, 8}, 1}}) {
    const Doubles want = want_of(one);
    EXPECT_LE(distance(added(one, 1), want), testing::kFloatTolerance * testing::largest(want))
        << one.shape.tokens;
  }
}

TEST(ChunkSumsKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  const Case one{{2, 131 * 16 + 5, 40}, 2};
  const Doubles first = added(one, 1);
  for (uint64_t seed = 2; seed < 5; ++seed) EXPECT_EQ(added(one, seed), first);
}

TEST(ChunkSumsKernels, DoNothingWhereAChunkIsAFrame) {
  CudaOnCpu cuda;
  EXPECT_TRUE(launch_add_chunks({.sums = 1, .shape = {5, 16, 8}}, nullptr).ok());
  EXPECT_TRUE(launch_add_chunks({.sums = 1, .shape = {0, 100, 8}}, nullptr).ok());
  EXPECT_EQ(launch_add_chunks({.sums = 4, .shape = {1, 100, 8}}, nullptr).code, kRefused.code);
  EXPECT_EQ(cuda.launches(), 0);
}

}  // namespace
}  // namespace praxino::kernels
