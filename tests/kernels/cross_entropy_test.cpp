// The kernels themselves, executed on the CPU, against the operation's formula in double.
#include "kernels/cross_entropy.h"

#include <gtest/gtest.h>

#include "kernels/numbers.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using testing::distance;
using testing::Doubles;
using testing::exact;
using testing::kElementOf;
using testing::kFloatTolerance;
using testing::largest;
using testing::normal;
using testing::step;

constexpr int64_t kIgnore = -7;

struct Shape {
  int64_t rows, classes;
  size_t skew = 0;  // elements from an aligned address: of the logits
  bool weighted = true;
};

// Every third row is ignored; targets reach both ends.
std::vector<int64_t> targets_of(const Shape& shape) {
  std::vector<int64_t> targets;
  for (int64_t row = 0; row < shape.rows; ++row)
    targets.push_back(row % 3 == 2 ? kIgnore : (row * 7919 + shape.classes - 1) % shape.classes);
  return targets;
}

std::vector<float> weights_of(const Shape& shape) {
  if (shape.weighted) return normal<float>(shape.rows, 8);
  return std::vector<float>(static_cast<size_t>(shape.rows), 1.0F);
}

struct Results {
  Doubles losses, gradient;
};

template <class T>
Results formula(const Doubles& logits, const std::vector<float>& weights, const Shape& shape) {
  const auto targets = targets_of(shape);
  const auto classes = static_cast<size_t>(shape.classes);
  Results results;
  for (size_t row = 0; row < targets.size(); ++row) {
    const double* x = logits.data() + row * classes;
    const double most = *std::max_element(x, x + classes);
    double sum = 0;
    for (size_t i = 0; i < classes; ++i) sum += std::exp(x[i] - most);
    const bool ignored = targets[row] == kIgnore;
    const double weight = ignored ? 0 : double{weights[row]}, lse = most + std::log(sum);
    const auto target = static_cast<size_t>(ignored ? 0 : targets[row]);
    results.losses.push_back(ignored ? 0 : weight * (lse - x[target]));
    for (size_t i = 0; i < classes; ++i) {
      const double share = step<T>(std::exp(step<T>(x[i] - lse)));
      results.gradient.push_back(step<T>(weight * step<T>(share - (i == target ? 1 : 0))));
    }
  }
  return results;
}

template <class T>
Results kernel(const std::vector<T>& logits, const Shape& shape, uint64_t seed,
               bool gradient = true) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  T* x = cuda.state(logits, "logits", shape.skew);
  const auto rows = static_cast<size_t>(shape.rows);
  const CrossEntropy p{
      .logits = x,
      .targets = cuda.upload(targets_of(shape), "targets"),
      .weights = shape.weighted ? cuda.upload(weights_of(shape), "weights") : nullptr,
      .losses = cuda.allocate<float>(rows, "losses"),
      .rows = shape.rows,
      .classes = shape.classes,
      .ignore = kIgnore,
      .element = kElementOf<T>,
      .gradient = gradient};
  EXPECT_TRUE(launch_cross_entropy(p, nullptr).ok());
  return {exact(cuda.download(p.losses, rows)), exact(cuda.download(x, logits.size()))};
}

template <class T>
void expect_kernel_equals_formula(const Shape& shape) {
  const auto logits = normal<T>(shape.rows * shape.classes, 1, 3);
  const auto weights = weights_of(shape);
  const Results got = kernel(logits, shape, 1);
  const Results want = formula<double>(exact(logits), weights, shape);
  EXPECT_LE(distance(got.losses, want.losses), kFloatTolerance * largest(want.losses) + 1e-6);
  const Results rounded = formula<T>(exact(logits), weights, shape);
  const double bound = sizeof(T) == 4 ? kFloatTolerance * largest(want.gradient)
                                      : 2 * distance(rounded.gradient, want.gradient);
  EXPECT_LE(distance(got.gradient, want.gradient), bound + 1e-12);
  const Results without = kernel(logits, shape, 2, /*gradient=*/false);
  EXPECT_EQ(without.losses, got.losses);
  EXPECT_EQ(without.gradient, exact(logits));
}

class CrossEntropyKernel : public ::testing::TestWithParam<Shape> {};

TEST_P(CrossEntropyKernel, EqualsItsFormulaInFloat) {
  expect_kernel_equals_formula<float>(GetParam());
}
TEST_P(CrossEntropyKernel, EqualsItsFormulaInBf16) {
  expect_kernel_equals_formula<Bf16>(GetParam());
}

// A warp a row, a block a row, rows that are read twice; rows that begin anywhere.
INSTANTIATE_TEST_SUITE_P(Shapes, CrossEntropyKernel,
                         ::testing::Values(Shape{1, 1}, Shape{5, 2}, Shape{11, 8}, Shape{7, 13},
                                           Shape{10, 264}, Shape{3, 1024, 0, false}, Shape{2, 1032},
                                           Shape{2, 8192}, Shape{2, 8200}, Shape{2, 9001},
                                           Shape{4, 64, 1}, Shape{4, 1040, 3}, Shape{3, 257, 5},
                                           Shape{1, 16'411, 0, false}));

TEST(CrossEntropyKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  for (const Shape& shape : {Shape{37, 72}, Shape{3, 2056}, Shape{5, 1001}}) {
    const auto logits = normal<Bf16>(shape.rows * shape.classes, 3);
    const Results first = kernel(logits, shape, 1);
    for (uint64_t seed = 2; seed < 5; ++seed) {
      const Results other = kernel(logits, shape, seed);
      EXPECT_EQ(first.losses, other.losses);
      EXPECT_EQ(first.gradient, other.gradient);
    }
  }
}

// Logits far apart, and masked ones.
TEST(CrossEntropyKernels, HoldAtTheEndsOfTheRange) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const int64_t classes : {int64_t{8}, int64_t{9}}) {
    std::vector<float> logits(static_cast<size_t>(classes), -kInfinity);
    logits[static_cast<size_t>(classes - 1)] = 3e38F;
    logits[0] = -3e38F;
    const Results got = kernel(logits, {1, classes, 0, false}, 1);
    EXPECT_EQ(got.losses, Doubles{0});
    EXPECT_EQ(got.gradient, Doubles(static_cast<size_t>(classes), 0));
  }
}

TEST(CrossEntropyKernels, KeepNotANumber) {
  for (const int64_t classes : {8, 9, 2048}) {
    std::vector<float> logits(static_cast<size_t>(3 * classes), 0.5F);
    for (int64_t row = 0; row < 3; ++row)
      logits[static_cast<size_t>(row * classes + row)] = std::numeric_limits<float>::quiet_NaN();
    const Results got = kernel(logits, {3, classes}, 1);
    EXPECT_TRUE(std::isnan(got.losses[0]));
    EXPECT_TRUE(std::isnan(got.losses[1]));
    EXPECT_EQ(got.losses[2], 0);  // it is ignored
    EXPECT_TRUE(std::isnan(got.gradient[static_cast<size_t>(classes - 1)]));
    EXPECT_EQ(got.gradient.back(), 0);
  }
}

TEST(CrossEntropyKernels, ATargetThatIsNoClassIsNotANumber) {
  for (const int64_t classes : {8, 9, 2048}) {
    for (const int64_t target : {int64_t{-1}, classes, int64_t{1} << 40}) {
      CudaOnCpu cuda;
      float* x = cuda.state(normal<float>(classes, 1), "logits");
      float* losses = cuda.allocate<float>(1, "losses");
      EXPECT_TRUE(launch_cross_entropy({.logits = x,
                                        .targets = cuda.upload(std::vector{target}, "targets"),
                                        .losses = losses,
                                        .rows = 1,
                                        .classes = classes},
                                       nullptr)
                      .ok());
      EXPECT_TRUE(std::isnan(cuda.download(losses, 1)[0]));
      for (const float g : cuda.download(x, static_cast<size_t>(classes)))
        EXPECT_TRUE(std::isnan(g));
    }
  }
}

template <class T>
void expect_scaled_rows(int64_t rows, int64_t width, size_t skew) {
  CudaOnCpu cuda;
  const auto values = normal<T>(rows * width, 1);
  std::vector<float> factors = normal<float>(rows, 2);
  factors[0] = 1;
  T* x = cuda.state(values, "rows", skew);
  EXPECT_TRUE(launch_scale_rows({.rows_of = x,
                                 .factors = cuda.upload(factors, "factors"),
                                 .rows = rows,
                                 .width = width,
                                 .element = kElementOf<T>},
                                nullptr)
                  .ok());
  const auto got = cuda.download(x, values.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const float want = to_float(values[i]) * factors[i / static_cast<size_t>(width)];
    ASSERT_EQ(to_float(got[i]), to_float(testing::rounded<T>(double{want}))) << i;
  }
}

TEST(ScaleRowsKernel, MultipliesEachRowByItsFactor) {
  for (const size_t skew : {0, 1, 5}) {
    for (const int64_t width : {1, 8, 31, 300}) {
      expect_scaled_rows<float>(3, width, skew);
      expect_scaled_rows<Bf16>(3, width, skew);
    }
  }
}

TEST(ScaleRowsKernel, DoesNotTouchARowWhoseFactorIsOne) {
  CudaOnCpu cuda;
  const float* input = cuda.upload(std::vector<float>(8, 2.0F), "an input");  // a write is a fault
  EXPECT_TRUE(launch_scale_rows({.rows_of = const_cast<float*>(input),
                                 .factors = cuda.upload(std::vector{1.0F}, "factors"),
                                 .rows = 1,
                                 .width = 8},
                                nullptr)
                  .ok());
}

TEST(CrossEntropyKernels, DoNotLaunchForAnEmptyBatchAndRefuseShapesOutOfRange) {
  CudaOnCpu cuda;
  EXPECT_TRUE(launch_cross_entropy({.rows = 0, .classes = 8}, nullptr).ok());
  EXPECT_TRUE(launch_scale_rows({.rows = 0, .width = 8}, nullptr).ok());
  for (const auto& [rows, classes] : std::vector<std::pair<int64_t, int64_t>>{
           {-1, 8}, {8, 0}, {1, int64_t{1} << 31}, {INT64_MAX / 8, 2}}) {
    EXPECT_EQ(launch_cross_entropy({.rows = rows, .classes = classes}, nullptr).code,
              kRefused.code);
    EXPECT_EQ(launch_scale_rows({.rows = rows, .width = classes}, nullptr).code, kRefused.code);
  }
  EXPECT_EQ(cuda.launches(), 0);
}

TEST(RowParts, WholeVectorsLieBetweenTheEnds) {
  for (int vector : {4, 8}) {
    for (int64_t first = 0; first < 3 * vector; ++first) {
      for (int64_t count = 0; count < 4 * vector; ++count) {
        const RowParts parts = row_parts(first, count, vector);
        ASSERT_GE(parts.body, 0);
        ASSERT_LE(parts.body, parts.tail);
        ASSERT_LE(parts.tail, count);
        ASSERT_EQ((parts.tail - parts.body) % vector, 0);
        ASSERT_LT(count - parts.tail, vector);
        ASSERT_LT(parts.body, vector);
        ASSERT_TRUE(parts.body == count || (first + parts.body) % vector == 0);
      }
    }
  }
}

}  // namespace
}  // namespace praxino::kernels
