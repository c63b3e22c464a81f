// The plain meaning of the instructions that every chip from 8.0 has, on the emulator. A GPU runs
// the same probes (tests/ops/intrinsics_cuda_test.cpp).
#include <gtest/gtest.h>

#include "kernels/emulated_gpu.h"
#include "kernels/expect_arithmetic.h"
#include "kernels/expect_portable.h"

namespace praxino::kernels {
namespace {

class Portable : public ::testing::TestWithParam<uint64_t> {
 protected:
  testing::EmulatedGpu gpu_{GetParam()};
};

TEST_P(Portable, TellsThreadsWhereTheyStand) { testing::expect_standings(gpu_); }
TEST_P(Portable, ExchangesValuesBetweenLanes) { testing::expect_exchanges(gpu_); }
TEST_P(Portable, MeetsAtBarriersOfBlockAndWarp) { testing::expect_meetings(gpu_); }
TEST_P(Portable, LoadsMatricesOfEveryForm) { testing::expect_matrices(gpu_); }
TEST_P(Portable, TransposesMatrices) { testing::expect_transpose(gpu_); }
TEST_P(Portable, MultipliesFragments) { testing::expect_fragments(gpu_); }
TEST_P(Portable, MultipliesWhatIsNotFiniteOrSubnormal) { testing::expect_special_fragments(gpu_); }
TEST_P(Portable, CopiesGroupByGroup) { testing::expect_async_copies(gpu_); }
TEST_P(Portable, MovesMemoryInEveryWay) { testing::expect_moves(gpu_); }

INSTANTIATE_TEST_SUITE_P(Seeds, Portable, ::testing::Range<uint64_t>(1, 5));

// Each thread by itself: one schedule is all.
class PortableArithmetic : public ::testing::Test {
 protected:
  testing::EmulatedGpu gpu_{1};
};

TEST_F(PortableArithmetic, RoundsToBf16) { testing::expect_bf16(gpu_); }
TEST_F(PortableArithmetic, RoundsOnce) { testing::expect_roundings(gpu_); }
TEST_F(PortableArithmetic, FindsTheNearestWholeNumber) { testing::expect_whole_numbers(gpu_); }
TEST_F(PortableArithmetic, TakesTheLargerOne) { testing::expect_maxima(gpu_); }
TEST_F(PortableArithmetic, TakesExactRoots) { testing::expect_square_roots(gpu_); }
TEST_F(PortableArithmetic, IsFastWithinTheManualsBounds) { testing::expect_fast_arithmetic(gpu_); }

}  // namespace
}  // namespace praxino::kernels
