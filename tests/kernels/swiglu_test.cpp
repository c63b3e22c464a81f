// The kernels themselves, executed on the CPU, against the operation's formula in double.
#include "kernels/swiglu.h"

#include <gtest/gtest.h>

#include <array>

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

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

struct Results {
  Doubles y, grad_a, grad_b;
};

template <class T>
Results formula(const Doubles& ab, const Doubles& grad, size_t rows, size_t half) {
  Results results;
  for (size_t i = 0; i < rows * half; ++i) {
    const size_t row = i / half, column = i % half;
    const double a = ab[row * 2 * half + column], b = ab[row * 2 * half + half + column];
    const double s = sigmoid(a), gated = step<T>(a * s), g = grad[i];
    results.y.push_back(step<T>(gated * b));
    results.grad_a.push_back(step<T>(step<T>(g * b) * s * (1 + a * (1 - s))));
    results.grad_b.push_back(step<T>(g * gated));
  }
  return results;
}

struct Shape {
  int64_t rows, half;
  std::array<size_t, 4> skew{};  // elements from aligned addresses: ab, grad, y, grad_ab
};

template <class T>
Results kernel(const std::vector<T>& ab, const std::vector<T>& grad, Shape shape, uint64_t seed) {
  const size_t count = grad.size();
  // Launchers choose their grids by the number of multiprocessors: results must not depend on it.
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  const T* in = cuda.upload(ab, "ab", shape.skew[0]);
  const T* g = cuda.upload(grad, "grad", shape.skew[1]);
  T* y = cuda.allocate<T>(count, "y", shape.skew[2]);
  T* grad_ab = cuda.allocate<T>(2 * count, "grad_ab", shape.skew[3]);
  const Element element = kElementOf<T>;
  EXPECT_TRUE(launch_swiglu({in, y, shape.rows, shape.half, element}, nullptr).ok());
  EXPECT_TRUE(
      launch_swiglu_backward({in, g, grad_ab, shape.rows, shape.half, element}, nullptr).ok());
  const Doubles both = exact(cuda.download(grad_ab, 2 * count));
  Results results{.y = exact(cuda.download(y, count)), .grad_a = {}, .grad_b = {}};
  const auto half = static_cast<size_t>(shape.half);
  for (size_t i = 0; i < count; ++i) {
    results.grad_a.push_back(both[i / half * 2 * half + i % half]);
    results.grad_b.push_back(both[i / half * 2 * half + half + i % half]);
  }
  return results;
}

// float: rounding. bfloat16: at most twice as far from the exact result as the formula in bfloat16.
template <class T>
void expect_close(const Doubles& got, const Doubles& want, const Doubles& by_formula) {
  const double bound =
      sizeof(T) == 4 ? kFloatTolerance * largest(want) : 2 * distance(by_formula, want);
  EXPECT_LE(distance(got, want), bound + 1e-12);
}

template <class T>
void expect_kernel_equals_formula(Shape shape) {
  const auto ab = normal<T>(shape.rows * 2 * shape.half, 1, 3);
  const auto grad = normal<T>(shape.rows * shape.half, 2);
  const auto rows = static_cast<size_t>(shape.rows), half = static_cast<size_t>(shape.half);
  const Results got = kernel(ab, grad, shape, 1);
  const Results want = formula<double>(exact(ab), exact(grad), rows, half);
  const Results by_formula = formula<T>(exact(ab), exact(grad), rows, half);
  expect_close<T>(got.y, want.y, by_formula.y);
  expect_close<T>(got.grad_a, want.grad_a, by_formula.grad_a);
  expect_close<T>(got.grad_b, want.grad_b, by_formula.grad_b);
}

class SwiGluKernel : public ::testing::TestWithParam<Shape> {};

TEST_P(SwiGluKernel, EqualsItsFormulaInFloat) { expect_kernel_equals_formula<float>(GetParam()); }
TEST_P(SwiGluKernel, EqualsItsFormulaInBf16) { expect_kernel_equals_formula<Bf16>(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Shapes, SwiGluKernel,
                         ::testing::Values(Shape{1, 1}, Shape{3, 1}, Shape{7, 8}, Shape{5, 31},
                                           Shape{13, 64}, Shape{3, 127}, Shape{11, 256},
                                           Shape{2, 1000}, Shape{5, 1024},
                                           Shape{4, 64, {1, 0, 0, 0}}, Shape{4, 64, {0, 1, 0, 0}},
                                           Shape{4, 64, {0, 0, 1, 0}}, Shape{4, 64, {0, 0, 0, 1}},
                                           Shape{4099, 8}));

TEST(SwiGluKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  const Shape shape{331, 264};
  const auto ab = normal<Bf16>(shape.rows * 2 * shape.half, 3);
  const auto grad = normal<Bf16>(shape.rows * shape.half, 4);
  const Results first = kernel(ab, grad, shape, 1);
  for (uint64_t seed = 2; seed < 6; ++seed) {
    const Results other = kernel(ab, grad, shape, seed);
    EXPECT_EQ(first.y, other.y);
    EXPECT_EQ(first.grad_a, other.grad_a);
    EXPECT_EQ(first.grad_b, other.grad_b);
  }
}

TEST(SwiGluKernels, HoldAtTheEndsOfTheRange) {
  const std::vector<float> ab = {1e4F, -1e4F, 88.0F, -88.0F, 1.0F, 1.0F, 1.0F, 1.0F};
  const std::vector<float> grad(4, 1.0F);
  const Results got = kernel(ab, grad, {1, 4}, 1);
  EXPECT_EQ(got.y, (Doubles{1e4, 0, 88, got.y[3]}));
  EXPECT_LT(std::fabs(got.y[3]), 1e-30);
  EXPECT_EQ(got.grad_a[0], 1);
  EXPECT_EQ(got.grad_a[1], 0);
}

TEST(SwiGluKernels, KeepNotANumber) {
  const std::vector<float> ab(16, std::numeric_limits<float>::quiet_NaN());
  const Results got = kernel(ab, std::vector<float>(8, 1.0F), {2, 4}, 1);
  for (const double y : got.y) EXPECT_TRUE(std::isnan(y));
  for (const double g : got.grad_a) EXPECT_TRUE(std::isnan(g));
}

TEST(SwiGluKernels, DoNotLaunchForAnEmptyBatch) {
  CudaOnCpu cuda;
  EXPECT_TRUE(launch_swiglu({.rows = 0, .half = 8}, nullptr).ok());
  EXPECT_EQ(cuda.launches(), 0);
}

TEST(SwiGluKernels, RefuseShapesThatDoNotExist) {
  CudaOnCpu cuda;
  for (const Shape shape : {Shape{-1, 8}, Shape{8, 0}, Shape{INT64_MAX / 8, 4}}) {
    const Status forward =
        launch_swiglu({nullptr, nullptr, shape.rows, shape.half, Element::kFloat}, nullptr);
    const Status backward = launch_swiglu_backward(
        {nullptr, nullptr, nullptr, shape.rows, shape.half, Element::kBf16}, nullptr);
    EXPECT_EQ(forward.code, kRefused.code);
    EXPECT_EQ(backward.code, kRefused.code);
  }
  EXPECT_EQ(cuda.launches(), 0);
}

}  // namespace
}  // namespace praxino::kernels
