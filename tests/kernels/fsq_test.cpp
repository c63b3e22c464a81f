// The kernels themselves, executed on the CPU, against the operation's formula in double.
#include "kernels/fsq.h"

#include <gtest/gtest.h>

#include <array>
#include <map>

#include "kernels/device/rounding.cuh"
#include "kernels/numbers.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using testing::as;
using testing::Doubles;
using testing::exact;
using testing::kElementOf;
using testing::normal;

struct Case {
  int64_t rows;
  FsqLevels levels;
  std::array<size_t, 4> skew{};  // elements from aligned addresses: z, codes, grad, grad_z
};

struct Results {
  Doubles codes, grad_z;
  std::vector<int64_t> indices;
  bool operator==(const Results&) const = default;
};

template <class T>
Results kernel(const std::vector<T>& z, const std::vector<T>& grad, const Case& c, uint64_t seed) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  const T* in = cuda.upload(z, "z", c.skew[0]);
  T* codes = cuda.allocate<T>(z.size(), "codes", c.skew[1]);
  auto* indices = cuda.allocate<int64_t>(static_cast<size_t>(c.rows), "indices");
  EXPECT_TRUE(launch_fsq({in, codes, indices, c.rows, c.levels, kElementOf<T>}, nullptr).ok());
  T* grad_z = cuda.allocate<T>(z.size(), "grad_z", c.skew[3]);
  EXPECT_TRUE(launch_fsq_backward({in, cuda.upload(grad, "grad", c.skew[2]), grad_z,
                                   static_cast<int64_t>(z.size()), kElementOf<T>},
                                  nullptr)
                  .ok());
  return {exact(cuda.download(codes, z.size())), exact(cuda.download(grad_z, z.size())),
          cuda.download(indices, static_cast<size_t>(c.rows))};
}

// The level is the nearest, up to float's rounding of tanh; codes and indices are exactly those of
// the levels.
template <class T>
void expect_equals_formula(const Case& c) {
  const int64_t channels = c.levels.channels;
  const auto z = normal<T>(c.rows * channels, 1, 1.5), grad = normal<T>(c.rows * channels, 2);
  const Results got = kernel(z, grad, c, 1);
  for (int64_t row = 0; row < c.rows; ++row) {
    int64_t index = 0, basis = 1;
    for (int channel = 0; channel < channels; ++channel) {
      const auto i = static_cast<size_t>(row * channels + channel);
      const double u = std::tanh(static_cast<double>(to_float(z[i])));
      const int top = c.levels.of[channel] - 1;
      const int64_t step = got.indices[static_cast<size_t>(row)] / basis % (top + 1);
      EXPECT_LE(std::fabs(static_cast<double>(step) - (u + 1) / 2 * top), 0.5 + 3e-7 * top);
      const float code = static_cast<float>(step) / (0.5F * static_cast<float>(top)) - 1.0F;
      EXPECT_EQ(got.codes[i], as<T>(static_cast<double>(code)));
      const double want = static_cast<double>(to_float(grad[i])) * (1 - u * u);
      const double tolerance = sizeof(T) == 4 ? 2e-6 : 2 * std::fabs(as<T>(want) - want) + 1e-6;
      EXPECT_LE(std::fabs(got.grad_z[i] - want), tolerance * std::max(1.0, std::fabs(want)));
      index += step * basis;
      basis *= top + 1;
    }
    EXPECT_EQ(got.indices[static_cast<size_t>(row)], index);
    EXPECT_LT(index, basis);
  }
}

class FsqKernel : public ::testing::TestWithParam<Case> {};

TEST_P(FsqKernel, EqualsItsFormulaInFloat) { expect_equals_formula<float>(GetParam()); }
TEST_P(FsqKernel, EqualsItsFormulaInBf16) { expect_equals_formula<Bf16>(GetParam()); }

constexpr FsqLevels kFour{4, {8, 5, 5, 5}};

INSTANTIATE_TEST_SUITE_P(
    Cases, FsqKernel,
    ::testing::Values(Case{1, {1, {2}}}, Case{7, {1, {1024}}}, Case{300, {3, {8, 6, 5}}},
                      Case{257, kFour}, Case{513, {6, {8, 8, 8, 5, 5, 5}}},
                      Case{31, {16, {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 2, 2, 2, 2}}},
                      Case{40, kFour, {1, 0, 0, 0}}, Case{40, kFour, {0, 1, 0, 0}},
                      Case{40, kFour, {0, 0, 1, 0}}, Case{40, kFour, {0, 0, 0, 1}}));

// Division and rounding by additions and multiplications have the bits of the language's.
TEST(FsqKernels, RoundEveryStepOfEveryNumberOfLevelsOnce) {
  for (int levels = 2; levels <= kMaxFsqLevels; ++levels) {
    const auto top = static_cast<float>(levels - 1);
    const float half = 0.5F * top, one_over_half = 1.0F / half;
    for (int step = 0; step < levels; ++step) {
      const auto x = static_cast<float>(step);
      ASSERT_EQ(device::quotient_rounded(x, half, one_over_half), x / half)
          << step << " " << levels;
      // Ties go to the even neighbour.
      for (const float share : {x, x + 0.25F, x + 0.5F, x + 0.75F}) {
        const device::Whole whole = device::nearest_product(share, 1.0F);
        ASSERT_EQ(whole.value, std::nearbyint(share));
        ASSERT_EQ(whole.number, static_cast<int>(std::nearbyint(share)));
      }
    }
  }
}

TEST(FsqKernels, ReachEveryCodeOfTheBook) {
  // The middles of all levels of two channels, three and four of them.
  const Case c{12, {2, {3, 4}}};
  std::vector<float> z;
  for (int i = 0; i < 12; ++i) {
    z.push_back(static_cast<float>(std::atanh(0.99 * (i % 3 - 1))));
    z.push_back(static_cast<float>(std::atanh(0.99 * (2.0 * (i / 3) / 3 - 1))));
  }
  const Results got = kernel(z, std::vector<float>(z.size(), 1.0F), c, 1);
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(got.indices[static_cast<size_t>(i)], i);
}

TEST(FsqKernels, HoldAtTheEndsOfTheRange) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float none = std::numeric_limits<float>::quiet_NaN();
  const Results got = kernel<float>({-infinity, infinity, 100, -100, none, 0, 0.3F, none},
                                    std::vector<float>(8, 1.0F), {4, {2, {5, 3}}}, 1);
  EXPECT_EQ(got.indices, (std::vector<int64_t>{10, 4, 5, 3}));
  EXPECT_EQ(got.codes[0], -1);
  EXPECT_EQ(got.codes[1], 1);
  EXPECT_EQ(got.codes[6], 0.5);
  EXPECT_EQ(got.grad_z[0], 0);
  EXPECT_EQ(got.grad_z[5], 1);
  for (const size_t i : {4, 7}) {
    EXPECT_TRUE(std::isnan(got.codes[i]));
    EXPECT_TRUE(std::isnan(got.grad_z[i]));
  }
}

TEST(FsqKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  const Case c{1100, kFour};
  const auto z = normal<Bf16>(c.rows * 4, 3), grad = normal<Bf16>(c.rows * 4, 4);
  const Results first = kernel(z, grad, c, 1);
  for (uint64_t seed = 2; seed < 5; ++seed) EXPECT_EQ(kernel(z, grad, c, seed), first);
}

TEST(FsqKernels, DoNotLaunchForAnEmptyBatchNorForWhatIsOutOfRange) {
  CudaOnCpu cuda;
  EXPECT_TRUE(launch_fsq({.levels = kFour}, nullptr).ok());
  EXPECT_TRUE(launch_fsq_backward({}, nullptr).ok());
  for (const FsqLevels& levels :
       {FsqLevels{0, {}}, FsqLevels{1, {1}}, FsqLevels{1, {1025}}, FsqLevels{17, {}},
        FsqLevels{7, {1000, 1000, 1000, 1000, 1000, 1000, 1000}}}) {
    EXPECT_EQ(launch_fsq({.rows = 1, .levels = levels}, nullptr).code, kRefused.code);
  }
  EXPECT_EQ(launch_fsq({.rows = -1, .levels = kFour}, nullptr).code, kRefused.code);
  EXPECT_EQ(launch_fsq_backward({.elements = -1}, nullptr).code, kRefused.code);
  EXPECT_EQ(cuda.launches(), 0);
}

}  // namespace
}  // namespace praxino::kernels
