// The kernels themselves, executed on the CPU, against the operation's formula in double.
#include "kernels/norm_rotate.h"

#include <gtest/gtest.h>

#include <array>

#include "kernels/numbers.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using testing::bound;
using testing::distance;
using testing::Doubles;
using testing::exact;
using testing::kElementOf;
using testing::kFloatTolerance;
using testing::largest;
using testing::normal;

struct Inputs {
  HeadRows shape;
  std::vector<float> gain, cos, sin;
  Doubles x, grad;
  std::array<size_t, 7> skew{};  // elements from aligned addresses: x, gain, cos, sin, y, gradients
};

// Any two tables will do: nothing needs them to be of one angle.
Inputs inputs(HeadRows shape) {
  const int64_t elements = shape.all().rows() * shape.width;
  const int64_t angles = shape.positions * shape.width / 2;
  return {.shape = shape,
          .gain = normal<float>(shape.width, 1),
          .cos = normal<float>(angles, 2),
          .sin = normal<float>(angles, 3),
          .x = exact(normal<Bf16>(elements, 4)),
          .grad = exact(normal<Bf16>(elements, 5))};
}

struct Results {
  Doubles y, inverse, grad_x, grad_gain;
};

Results formula(const Inputs& in) {
  const auto width = static_cast<size_t>(in.shape.width), half = width / 2;
  const auto positions = static_cast<size_t>(in.shape.positions);
  const auto heads = static_cast<size_t>(in.shape.heads);
  Results out;
  out.y.resize(in.x.size());
  out.grad_x.resize(in.x.size());
  out.grad_gain.resize(width);
  for (size_t row = 0; row * width < in.x.size(); ++row) {
    const size_t at = row * width, angle = row / heads % positions * half;
    double squares = 0, projection = 0;
    for (size_t i = 0; i < width; ++i) squares += in.x[at + i] * in.x[at + i];
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(width) + 1e-6);
    out.inverse.push_back(inverse);
    Doubles scaled(width);
    for (size_t i = 0; i < half; ++i) {
      const double c = double{in.cos[angle + i]}, s = double{in.sin[angle + i]};
      const double a = in.x[at + i] * inverse * double{in.gain[i]};
      const double b = in.x[at + half + i] * inverse * double{in.gain[half + i]};
      out.y[at + i] = a * c - b * s;
      out.y[at + half + i] = b * c + a * s;
      scaled[i] = in.grad[at + i] * c + in.grad[at + half + i] * s;
      scaled[half + i] = in.grad[at + half + i] * c - in.grad[at + i] * s;
    }
    for (size_t i = 0; i < width; ++i) {
      const double normalized = in.x[at + i] * inverse;
      out.grad_gain[i] += scaled[i] * normalized;
      scaled[i] *= double{in.gain[i]};
      projection += scaled[i] * normalized;
    }
    projection /= static_cast<double>(width);
    for (size_t i = 0; i < width; ++i)
      out.grad_x[at + i] = inverse * (scaled[i] - in.x[at + i] * inverse * projection);
  }
  return out;
}

template <class T>
std::vector<T> typed(const Doubles& values) {
  std::vector<T> result;
  for (const double value : values) result.push_back(testing::rounded<T>(value));
  return result;
}

struct Wanted {
  bool x = true, gain = true;
};

template <class T>
Results kernel(const Inputs& in, uint64_t seed, Wanted wanted = {}) {
  // Launchers choose their grids by the number of multiprocessors: results must not depend on it.
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  const size_t elements = in.x.size(), rows = static_cast<size_t>(in.shape.all().rows());
  T* y = cuda.allocate<T>(elements, "y", in.skew[4]);
  const NormRotate forward{.x = cuda.upload(typed<T>(in.x), "x", in.skew[0]),
                           .gain = cuda.upload(in.gain, "gain", in.skew[1]),
                           .cos = cuda.upload(in.cos, "cos", in.skew[2]),
                           .sin = cuda.upload(in.sin, "sin", in.skew[3]),
                           .y = y,
                           .inverse = cuda.allocate<float>(rows, "inverse"),
                           .shape = in.shape,
                           .element = kElementOf<T>};
  const auto workspace = static_cast<size_t>(chunk_workspace(in.shape.all(), 1));
  const auto gains = static_cast<size_t>(in.shape.width);
  T* grad_x = cuda.allocate<T>(elements, "grad_x", in.skew[6]);
  float* grad_gain = cuda.allocate<float>(gains, "grad_gain");
  const NormRotateBackward backward{.x = forward.x,
                                    .gain = forward.gain,
                                    .cos = forward.cos,
                                    .sin = forward.sin,
                                    .inverse = forward.inverse,
                                    .grad = cuda.upload(typed<T>(in.grad), "grad", in.skew[5]),
                                    .grad_x = wanted.x ? grad_x : nullptr,
                                    .grad_gain = wanted.gain ? grad_gain : nullptr,
                                    .workspace = cuda.allocate<float>(workspace, "workspace"),
                                    .shape = in.shape,
                                    .element = kElementOf<T>};
  EXPECT_TRUE(launch_norm_rotate(forward, nullptr).ok());
  EXPECT_TRUE(launch_norm_rotate_backward(backward, nullptr).ok());
  return {exact(cuda.download(y, elements)), exact(cuda.download(forward.inverse, rows)),
          exact(cuda.download(grad_x, elements)), exact(cuda.download(grad_gain, gains))};
}

template <class T>
void expect_kernel_equals_formula(const Inputs& in) {
  const Results got = kernel<T>(in, 1), want = formula(in);
  EXPECT_LE(distance(got.y, want.y), bound<T>(want.y));
  EXPECT_LE(distance(got.grad_x, want.grad_x), bound<T>(want.grad_x));
  EXPECT_LE(distance(got.inverse, want.inverse), kFloatTolerance * largest(want.inverse));
  EXPECT_LE(distance(got.grad_gain, want.grad_gain), kFloatTolerance * largest(want.grad_gain));
}

class NormRotateKernel : public ::testing::TestWithParam<HeadRows> {};

TEST_P(NormRotateKernel, EqualsItsFormulaInFloat) {
  expect_kernel_equals_formula<float>(inputs(GetParam()));
}
TEST_P(NormRotateKernel, EqualsItsFormulaInBf16) {
  expect_kernel_equals_formula<Bf16>(inputs(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Shapes, NormRotateKernel,
                         ::testing::Values(HeadRows{2, 5, 3, 2}, HeadRows{1, 1, 1, 16},
                                           HeadRows{2, 7, 3, 34}, HeadRows{3, 5, 2, 64},
                                           HeadRows{2, 11, 3, 80}, HeadRows{1, 37, 2, 128},
                                           HeadRows{2, 3, 1, 256}, HeadRows{1, 3, 2, 512},
                                           HeadRows{1, 2, 2, 528}));

// Rows as they are, turned by the angles of their position.
Doubles rotated(const Inputs& in) {
  const auto width = static_cast<size_t>(in.shape.width), half = width / 2;
  const auto positions = static_cast<size_t>(in.shape.positions);
  const auto heads = static_cast<size_t>(in.shape.heads);
  Doubles y(in.x.size());
  for (size_t row = 0; row * width < y.size(); ++row) {
    const size_t at = row * width, angle = row / heads % positions * half;
    for (size_t i = 0; i < half; ++i) {
      const double c = double{in.cos[angle + i]}, s = double{in.sin[angle + i]};
      y[at + i] = in.x[at + i] * c - in.x[at + half + i] * s;
      y[at + half + i] = in.x[at + half + i] * c + in.x[at + i] * s;
    }
  }
  return y;
}

template <class T>
Doubles rotate_kernel(const Inputs& in, uint64_t seed) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  T* y = cuda.allocate<T>(in.x.size(), "y", in.skew[4]);
  EXPECT_TRUE(launch_norm_rotate({.x = cuda.upload(typed<T>(in.x), "x", in.skew[0]),
                                  .cos = cuda.upload(in.cos, "cos", in.skew[2]),
                                  .sin = cuda.upload(in.sin, "sin", in.skew[3]),
                                  .y = y,
                                  .shape = in.shape,
                                  .element = kElementOf<T>},
                                 nullptr)
                  .ok());
  return exact(cuda.download(y, in.x.size()));
}

TEST_P(NormRotateKernel, WithoutAGainRotatesRowsAsTheyAre) {
  Inputs in = inputs(GetParam());
  const Doubles want = rotated(in);
  EXPECT_LE(distance(rotate_kernel<float>(in, 1), want), bound<float>(want));
  EXPECT_LE(distance(rotate_kernel<Bf16>(in, 2), want), bound<Bf16>(want));
  in.skew[0] = 1;
  EXPECT_LE(distance(rotate_kernel<Bf16>(in, 3), want), bound<Bf16>(want));
}

TEST(NormRotateKernels, TakeAnyPointerUnaligned) {
  for (size_t i = 0; i < 7; ++i) {
    Inputs in = inputs({2, 3, 2, 32});
    in.skew[i] = 1;
    expect_kernel_equals_formula<float>(in);
    expect_kernel_equals_formula<Bf16>(in);
  }
}

TEST(NormRotateKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  for (const HeadRows shape : {HeadRows{34, 9, 2, 32}, HeadRows{34, 1, 2, 10}}) {
    const Inputs in = inputs(shape);
    const Results first = kernel<Bf16>(in, 1);
    for (uint64_t seed = 2; seed < 5; ++seed) {
      const Results other = kernel<Bf16>(in, seed);
      EXPECT_EQ(first.y, other.y);
      EXPECT_EQ(first.grad_x, other.grad_x);
      EXPECT_EQ(first.grad_gain, other.grad_gain);
    }
  }
}

TEST(NormRotateKernels, ComputeOnlyTheGradientsThatAreWanted) {
  for (const HeadRows shape : {HeadRows{2, 9, 2, 32}, HeadRows{3, 5, 2, 10}}) {
    const Inputs in = inputs(shape);
    const Results both = kernel<Bf16>(in, 1);
    EXPECT_EQ(kernel<Bf16>(in, 2, {.x = true, .gain = false}).grad_x, both.grad_x);
    EXPECT_EQ(kernel<Bf16>(in, 2, {.x = false, .gain = true}).grad_gain, both.grad_gain);
  }
}

TEST(NormRotateKernels, WithoutPositionsTheGradientOfTheGainIsZero) {
  EXPECT_EQ(kernel<float>(inputs({2, 0, 3, 16}), 1).grad_gain, Doubles(16, 0.0));
  EXPECT_EQ(kernel<float>(inputs({2, 3, 0, 6}), 1).grad_gain, Doubles(6, 0.0));
  EXPECT_EQ(kernel<float>(inputs({0, 3, 2, 6}), 1).grad_gain, Doubles(6, 0.0));
}

TEST(NormRotateKernels, DoNotLaunchForAnEmptyBatchAndRefuseShapesOutOfRange) {
  CudaOnCpu cuda;
  EXPECT_TRUE(launch_norm_rotate({.shape = {0, 5, 2, 8}}, nullptr).ok());
  for (const HeadRows shape : {HeadRows{2, 2, 2, 7}, HeadRows{2, 2, 2, 0}, HeadRows{-1, 2, 2, 8},
                               HeadRows{2, INT64_MAX / 2, 4, 8}, HeadRows{2, 2, -1, 8}}) {
    EXPECT_EQ(launch_norm_rotate({.shape = shape}, nullptr).code, kRefused.code);
    EXPECT_EQ(launch_norm_rotate_backward({.shape = shape}, nullptr).code, kRefused.code);
  }
  EXPECT_EQ(cuda.launches(), 0);
}

}  // namespace
}  // namespace praxino::kernels
