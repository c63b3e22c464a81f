// The kernels themselves, executed on the CPU, against the operation's formula in double.
#include "kernels/norm_modulate.h"

#include <gtest/gtest.h>

#include <array>

#include "kernels/chunk_sums.h"
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
  FrameRows shape;
  std::vector<float> x, scale, shift;
  std::vector<double> grad;
  std::array<size_t, 6>
      skew{};  // elements from aligned addresses: x, scale, shift, y, the gradients
};

Inputs inputs(FrameRows shape) {
  const int64_t elements = shape.rows() * shape.width, by_frame = shape.frames * shape.width;
  return {.shape = shape,
          .x = normal<float>(elements, 1, 2),
          .scale = normal<float>(by_frame, 2),
          .shift = normal<float>(by_frame, 3),
          .grad = exact(normal<Bf16>(elements, 4))};
}

struct Results {
  Doubles y, inverse, grad_x, grad_scale, grad_shift;
  double grad_x_term = 0;  // largest term of grad_x, which may cancel
};

Results formula(const Inputs& in) {
  const auto tokens = static_cast<size_t>(in.shape.tokens);
  const auto width = static_cast<size_t>(in.shape.width);
  Results out;
  out.y.resize(in.x.size());
  out.grad_x.resize(in.x.size());
  out.grad_scale.resize(in.scale.size());
  out.grad_shift.resize(in.scale.size());
  for (size_t row = 0; row < static_cast<size_t>(in.shape.rows()); ++row) {
    const size_t at = row * width, frame = row / tokens * width;
    double squares = 0, projection = 0;
    for (size_t i = 0; i < width; ++i) squares += double{in.x[at + i]} * double{in.x[at + i]};
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(width) + 1e-6);
    out.inverse.push_back(inverse);
    for (size_t i = 0; i < width; ++i) {
      const double normalized = double{in.x[at + i]} * inverse, grad = in.grad[at + i];
      out.y[at + i] =
          normalized * (1.0 + double{in.scale[frame + i]}) + double{in.shift[frame + i]};
      out.grad_scale[frame + i] += grad * normalized;
      out.grad_shift[frame + i] += grad;
      projection += grad * (1.0 + double{in.scale[frame + i]}) * normalized;
    }
    projection /= static_cast<double>(width);
    for (size_t i = 0; i < width; ++i) {
      const double scaled = in.grad[at + i] * (1.0 + double{in.scale[frame + i]});
      out.grad_x_term = std::max(out.grad_x_term, std::fabs(inverse * scaled));
      out.grad_x[at + i] = inverse * (scaled - double{in.x[at + i]} * inverse * projection);
    }
  }
  return out;
}

struct Wanted {
  bool x = true, sums = true;
};

template <class T>
Results kernel(const Inputs& in, uint64_t seed, Wanted wanted = {}) {
  // Launchers choose their grids by the number of multiprocessors: results must not depend on it.
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  std::vector<T> grads;
  for (const double grad : in.grad) grads.push_back(testing::rounded<T>(grad));
  const auto rows = static_cast<size_t>(in.shape.rows());
  const float* x = cuda.upload(in.x, "x", in.skew[0]);
  const float* scale = cuda.upload(in.scale, "scale", in.skew[1]);
  T* y = cuda.allocate<T>(in.x.size(), "y", in.skew[3]);
  float* inverse = cuda.allocate<float>(rows, "inverse");
  const NormModulate forward{.x = x,
                             .scale = scale,
                             .shift = cuda.upload(in.shift, "shift", in.skew[2]),
                             .y = y,
                             .inverse = inverse,
                             .shape = in.shape,
                             .element = kElementOf<T>};
  EXPECT_TRUE(launch_norm_modulate(forward, nullptr).ok());
  const auto workspace = static_cast<size_t>(chunk_workspace(in.shape, 2));
  float* grad_x = cuda.allocate<float>(in.x.size(), "grad_x", in.skew[5]);
  float* grad_scale = cuda.allocate<float>(in.scale.size(), "grad_scale");
  float* grad_shift = cuda.allocate<float>(in.scale.size(), "grad_shift");
  const NormModulateBackward backward{.x = x,
                                      .scale = scale,
                                      .inverse = inverse,
                                      .grad = cuda.upload(grads, "grad", in.skew[4]),
                                      .grad_x = wanted.x ? grad_x : nullptr,
                                      .grad_scale = wanted.sums ? grad_scale : nullptr,
                                      .grad_shift = wanted.sums ? grad_shift : nullptr,
                                      .workspace = cuda.allocate<float>(workspace, "workspace"),
                                      .shape = in.shape,
                                      .element = kElementOf<T>};
  EXPECT_TRUE(launch_norm_modulate_backward(backward, nullptr).ok());
  return {exact(cuda.download(y, in.x.size())), exact(cuda.download(inverse, rows)),
          exact(cuda.download(grad_x, in.x.size())),
          exact(cuda.download(grad_scale, in.scale.size())),
          exact(cuda.download(grad_shift, in.scale.size()))};
}

// What is float comes from float arithmetic whatever the type of y.
template <class T>
void expect_kernel_equals_formula(const Inputs& in) {
  const Results got = kernel<T>(in, 1), want = formula(in);
  const auto expect_close = [](const Doubles& a, const Doubles& b, const char* what) {
    EXPECT_LE(distance(a, b), kFloatTolerance * largest(b)) << what;
  };
  EXPECT_LE(distance(got.y, want.y), bound<T>(want.y));
  expect_close(got.inverse, want.inverse, "inverse");
  EXPECT_LE(distance(got.grad_x, want.grad_x), kFloatTolerance * want.grad_x_term);
  expect_close(got.grad_scale, want.grad_scale, "grad_scale");
  expect_close(got.grad_shift, want.grad_shift, "grad_shift");
}

class NormModulateKernel : public ::testing::TestWithParam<FrameRows> {};

TEST_P(NormModulateKernel, EqualsItsFormulaInFloat) {
  expect_kernel_equals_formula<float>(inputs(GetParam()));
}
TEST_P(NormModulateKernel, EqualsItsFormulaInBf16) {
  expect_kernel_equals_formula<Bf16>(inputs(GetParam()));
}

// Every way to spread a row over threads, with frames of less than a chunk, exactly one, and more.
INSTANTIATE_TEST_SUITE_P(
    Shapes, NormModulateKernel,
    ::testing::Values(FrameRows{1, 1, 1}, FrameRows{2, 3, 1}, FrameRows{3, 37, 3},
                      FrameRows{3, 5, 8}, FrameRows{2, 17, 31}, FrameRows{5, 33, 64},
                      FrameRows{3, 7, 72}, FrameRows{2, 19, 127}, FrameRows{2, 16, 256},
                      FrameRows{2, 5, 504}, FrameRows{3, 18, 512}, FrameRows{1, 15, 1000},
                      FrameRows{2, 17, 1024}, FrameRows{1, 2, 1031}, FrameRows{2, 3, 1536},
                      FrameRows{1, 3, 2048}, FrameRows{2, 2, 4096}, FrameRows{1, 2, 4104}));

TEST(NormModulateKernels, ComputeOnlyTheGradientsThatAreWanted) {
  for (const FrameRows shape : {FrameRows{2, 19, 40}, FrameRows{3, 17, 1032}, FrameRows{2, 5, 9}}) {
    const Inputs in = inputs(shape);
    const Results all = kernel<Bf16>(in, 1);
    EXPECT_EQ(kernel<Bf16>(in, 2, {.x = true, .sums = false}).grad_x, all.grad_x);
    const Results sums = kernel<Bf16>(in, 2, {.x = false, .sums = true});
    EXPECT_EQ(sums.grad_scale, all.grad_scale);
    EXPECT_EQ(sums.grad_shift, all.grad_shift);
  }
  float one_of_two = 0;
  EXPECT_EQ(
      launch_norm_modulate_backward({.grad_scale = &one_of_two, .shape = {1, 1, 8}}, nullptr).code,
      kRefused.code);
}

TEST(NormModulateKernels, TakeAnyPointerUnaligned) {
  for (size_t i = 0; i < 6; ++i) {
    Inputs in = inputs({2, 3, 64});
    in.skew[i] = 1;
    expect_kernel_equals_formula<float>(in);
    expect_kernel_equals_formula<Bf16>(in);
  }
}

TEST(NormModulateKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  for (const FrameRows shape :
       {FrameRows{2, 19, 40}, FrameRows{34, 2, 1032}, FrameRows{34, 17, 9}}) {
    const Inputs in = inputs(shape);
    const Results first = kernel<Bf16>(in, 1);
    for (uint64_t seed = 2; seed < 5; ++seed) {
      const Results other = kernel<Bf16>(in, seed);
      EXPECT_EQ(first.y, other.y);
      EXPECT_EQ(first.grad_x, other.grad_x);
      EXPECT_EQ(first.grad_scale, other.grad_scale);
      EXPECT_EQ(first.grad_shift, other.grad_shift);
    }
  }
}

TEST(NormModulateKernels, SumOverTheChunksOfAFrameOnlyWhereThereAreSeveral) {
  for (const int64_t tokens : {16, 17}) {
    const Inputs in = inputs({2, tokens, 16});
    CudaOnCpu cuda;
    ChunkSums sums{
        .results = {cuda.allocate<float>(32, "first"), cuda.allocate<float>(32, "second")},
        .workspace = nullptr,
        .sums = 2,
        .shape = in.shape};
    const std::vector<float> parts(static_cast<size_t>(chunk_workspace(in.shape, 2)), 0.5F);
    sums.workspace = const_cast<float*>(cuda.upload(parts, "parts"));
    EXPECT_TRUE(launch_add_chunks(sums, nullptr).ok());
    EXPECT_EQ(cuda.launches(), tokens == 16 ? 0 : 1);
    if (cuda.launches() == 0) continue;
    EXPECT_EQ(cuda.download(sums.results[1], 32), std::vector<float>(32, 1.0F));
  }
}

TEST(NormModulateKernels, AFrameWithoutTokensHasGradientsOfZero) {
  const Results got = kernel<float>(inputs({3, 0, 16}), 1);
  EXPECT_EQ(got.grad_scale, Doubles(48, 0.0));
  EXPECT_EQ(got.grad_shift, Doubles(48, 0.0));
  EXPECT_EQ(kernel<float>(inputs({3, 0, 7}), 1).grad_shift, Doubles(21, 0.0));
}

TEST(NormModulateKernels, DoNotLaunchForAnEmptyBatch) {
  CudaOnCpu cuda;
  EXPECT_TRUE(launch_norm_modulate({.shape = {0, 5, 8}}, nullptr).ok());
  EXPECT_TRUE(launch_norm_modulate({.shape = {5, 0, 8}}, nullptr).ok());
  EXPECT_TRUE(launch_norm_modulate_backward({.shape = {0, 5, 8}}, nullptr).ok());
  EXPECT_EQ(cuda.launches(), 0);
}

TEST(NormModulateKernels, RefuseShapesOutOfRange) {
  CudaOnCpu cuda;
  for (const FrameRows shape :
       {FrameRows{-1, 2, 8}, FrameRows{2, -1, 8}, FrameRows{2, 2, 0},
        FrameRows{1, 1, kMaxRowWidth + 1}, FrameRows{INT64_MAX / 64, 2, 8}}) {
    EXPECT_EQ(launch_norm_modulate({.shape = shape}, nullptr).code, kRefused.code);
    EXPECT_EQ(launch_norm_modulate_backward({.shape = shape}, nullptr).code, kRefused.code);
    EXPECT_EQ(launch_add_chunks({.sums = 2, .shape = shape}, nullptr).code, kRefused.code);
  }
  EXPECT_EQ(cuda.launches(), 0);
}

TEST(NormModulateKernels, KeepNotANumber) {
  Inputs in = inputs({1, 2, 16});
  in.x[3] = std::numeric_limits<float>::quiet_NaN();
  const Results got = kernel<Bf16>(in, 1);
  for (size_t i = 0; i < 16; ++i) EXPECT_TRUE(std::isnan(got.y[i]));
  for (size_t i = 16; i < 32; ++i) EXPECT_FALSE(std::isnan(got.y[i]));
}

}  // namespace
}  // namespace praxino::kernels
