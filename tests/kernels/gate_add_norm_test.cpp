// The kernels themselves, executed on the CPU, against the operation's formula in double.
#include "kernels/gate_add_norm.h"

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
  FrameRows shape;
  std::vector<float> x, gate, scale, shift, grad_sum;
  Doubles branch, grad;
  std::array<size_t, 12> skew{};  // elements from aligned addresses, in the order of upload
};

Inputs inputs(FrameRows shape) {
  const int64_t elements = shape.rows() * shape.width, by_frame = shape.frames * shape.width;
  return {.shape = shape,
          .x = normal<float>(elements, 1, 2),
          .gate = normal<float>(by_frame, 2),
          .scale = normal<float>(by_frame, 3),
          .shift = normal<float>(by_frame, 4),
          .grad_sum = normal<float>(elements, 5),
          .branch = exact(normal<Bf16>(elements, 6)),
          .grad = exact(normal<Bf16>(elements, 7))};
}

// Which gradients come in, and which are asked for.
struct Gradients {
  bool of_sum = true, of_y = true;
  bool x = true, branch = true, sums = true;
};

struct Results {
  Doubles sum, y, inverse, grad_x, grad_branch, grad_gate, grad_scale, grad_shift;
  double term = 0;  // largest term of grad_x, which may cancel
};

// Of row `row`: its sum, y and inverse.
void add_forward(const Inputs& in, size_t row, size_t frame, Results& out) {
  const auto width = static_cast<size_t>(in.shape.width);
  double squares = 0;
  for (size_t i = 0; i < width; ++i) {
    const size_t at = row * width + i;
    out.sum[at] = double{in.x[at]} + double{in.gate[frame + i]} * in.branch[at];
    squares += out.sum[at] * out.sum[at];
  }
  out.inverse.push_back(1 / std::sqrt(squares / static_cast<double>(width) + 1e-6));
  for (size_t i = 0; i < width; ++i) {
    const size_t at = row * width + i;
    out.y[at] = out.sum[at] * out.inverse[row] * (1.0 + double{in.scale[frame + i]}) +
                double{in.shift[frame + i]};
  }
}

void add_backward(const Inputs& in, const Gradients& come, size_t row, size_t frame, Results& out) {
  const auto width = static_cast<size_t>(in.shape.width);
  const double inverse = out.inverse[row];
  const auto scaled = [&](size_t i) {
    return (come.of_y ? in.grad[row * width + i] : 0.0) * (1.0 + double{in.scale[frame + i]});
  };
  double projection = 0;
  for (size_t i = 0; i < width; ++i) projection += scaled(i) * out.sum[row * width + i] * inverse;
  projection /= static_cast<double>(width);
  for (size_t i = 0; i < width; ++i) {
    const size_t at = row * width + i;
    const double normalized = out.sum[at] * inverse, grad = come.of_y ? in.grad[at] : 0.0;
    const double direct = come.of_sum ? double{in.grad_sum[at]} : 0.0;
    out.grad_scale[frame + i] += grad * normalized;
    out.grad_shift[frame + i] += grad;
    out.grad_x[at] = direct + inverse * (scaled(i) - normalized * projection);
    out.term = std::max({out.term, std::fabs(inverse * scaled(i)), std::fabs(direct)});
    out.grad_branch[at] = out.grad_x[at] * double{in.gate[frame + i]};
    out.grad_gate[frame + i] += out.grad_x[at] * in.branch[at];
  }
}

Results formula(const Inputs& in, const Gradients& come) {
  Results out;
  out.sum = out.y = out.grad_x = out.grad_branch = Doubles(in.x.size());
  out.grad_gate = out.grad_scale = out.grad_shift = Doubles(in.gate.size());
  for (size_t row = 0; row < static_cast<size_t>(in.shape.rows()); ++row) {
    const size_t frame = row / static_cast<size_t>(in.shape.tokens);
    add_forward(in, row, frame * static_cast<size_t>(in.shape.width), out);
    add_backward(in, come, row, frame * static_cast<size_t>(in.shape.width), out);
  }
  return out;
}

template <class T>
std::vector<T> as_elements(const Doubles& values) {
  std::vector<T> elements;
  for (const double value : values) elements.push_back(testing::rounded<T>(value));
  return elements;
}

template <class T>
Results kernel(const Inputs& in, uint64_t seed, Gradients asked = {}) {
  // Launchers choose their grids by the number of multiprocessors: results must not depend on it.
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  const size_t elements = in.x.size(), by_frame = in.gate.size();
  const auto rows = static_cast<size_t>(in.shape.rows());
  const GateAddNorm forward{.x = cuda.upload(in.x, "x", in.skew[0]),
                            .branch = cuda.upload(as_elements<T>(in.branch), "branch", in.skew[1]),
                            .gate = cuda.upload(in.gate, "gate", in.skew[2]),
                            .scale = cuda.upload(in.scale, "scale", in.skew[3]),
                            .shift = cuda.upload(in.shift, "shift", in.skew[4]),
                            .sum = cuda.allocate<float>(elements, "sum", in.skew[5]),
                            .y = cuda.allocate<T>(elements, "y", in.skew[6]),
                            .inverse = cuda.allocate<float>(rows, "inverse", in.skew[7]),
                            .shape = in.shape,
                            .element = kElementOf<T>};
  EXPECT_TRUE(launch_gate_add_norm(forward, nullptr).ok());
  const auto workspace = static_cast<size_t>(chunk_workspace(in.shape, 3));
  float* grad_x = cuda.allocate<float>(elements, "grad_x", in.skew[10]);
  T* grad_branch = cuda.allocate<T>(elements, "grad_branch", in.skew[11]);
  float* grad_gate = cuda.allocate<float>(by_frame, "grad_gate");
  float* grad_scale = cuda.allocate<float>(by_frame, "grad_scale");
  float* grad_shift = cuda.allocate<float>(by_frame, "grad_shift");
  const float* grad_sum = cuda.upload(in.grad_sum, "grad_sum", in.skew[8]);
  const T* grad = cuda.upload(as_elements<T>(in.grad), "grad", in.skew[9]);
  const bool of_norm = asked.sums && asked.of_y;
  const GateAddNormBackward backward{.sum = forward.sum,
                                     .branch = forward.branch,
                                     .gate = forward.gate,
                                     .scale = forward.scale,
                                     .inverse = forward.inverse,
                                     .grad_sum = asked.of_sum ? grad_sum : nullptr,
                                     .grad = asked.of_y ? grad : nullptr,
                                     .grad_x = asked.x && asked.of_y ? grad_x : nullptr,
                                     .grad_branch = asked.branch ? grad_branch : nullptr,
                                     .grad_gate = asked.sums ? grad_gate : nullptr,
                                     .grad_scale = of_norm ? grad_scale : nullptr,
                                     .grad_shift = of_norm ? grad_shift : nullptr,
                                     .workspace = cuda.allocate<float>(workspace, "workspace"),
                                     .shape = in.shape,
                                     .element = kElementOf<T>};
  EXPECT_TRUE(launch_gate_add_norm_backward(backward, nullptr).ok());
  return {exact(cuda.download(forward.sum, elements)),
          exact(cuda.download(static_cast<T*>(forward.y), elements)),
          exact(cuda.download(forward.inverse, rows)),
          exact(cuda.download(grad_x, elements)),
          exact(cuda.download(grad_branch, elements)),
          exact(cuda.download(grad_gate, by_frame)),
          exact(cuda.download(grad_scale, by_frame)),
          exact(cuda.download(grad_shift, by_frame))};
}

void expect_close(const Doubles& got, const Doubles& want, double scale, const char* what) {
  EXPECT_LE(distance(got, want), kFloatTolerance * scale) << what;
}

// What is float comes from float arithmetic whatever the type of branch and y. Where terms cancel,
// the error is of the size of the terms.
template <class T>
void expect_kernel_equals_formula(const Inputs& in, Gradients asked = {}) {
  const Results got = kernel<T>(in, 1, asked), want = formula(in, asked);
  expect_close(got.sum, want.sum, largest(want.sum), "sum");
  EXPECT_LE(distance(got.y, want.y), bound<T>(want.y));
  expect_close(got.inverse, want.inverse, largest(want.inverse), "inverse");
  const double gate = largest(exact(in.gate)), of_branch = bound<T>(want.grad_branch);
  EXPECT_LE(distance(got.grad_branch, want.grad_branch),
            std::max(of_branch, kFloatTolerance * want.term * gate));
  const double gates = std::max(largest(want.grad_gate), want.term * largest(in.branch));
  expect_close(got.grad_gate, want.grad_gate, gates, "grad_gate");
  if (!asked.of_y) return;
  expect_close(got.grad_x, want.grad_x, want.term, "grad_x");
  expect_close(got.grad_scale, want.grad_scale, largest(want.grad_scale), "grad_scale");
  expect_close(got.grad_shift, want.grad_shift, largest(want.grad_shift), "grad_shift");
}

class GateAddNormKernel : public ::testing::TestWithParam<FrameRows> {};

TEST_P(GateAddNormKernel, EqualsItsFormulaInFloat) {
  expect_kernel_equals_formula<float>(inputs(GetParam()));
}
TEST_P(GateAddNormKernel, EqualsItsFormulaInBf16) {
  expect_kernel_equals_formula<Bf16>(inputs(GetParam()));
}

// Every way to spread a row over threads, with frames of less than a chunk, exactly one, and more.
INSTANTIATE_TEST_SUITE_P(
    Shapes, GateAddNormKernel,
    ::testing::Values(FrameRows{1, 1, 1}, FrameRows{2, 3, 1}, FrameRows{3, 37, 3},
                      FrameRows{3, 5, 8}, FrameRows{2, 17, 31}, FrameRows{5, 33, 64},
                      FrameRows{3, 7, 72}, FrameRows{2, 19, 127}, FrameRows{2, 16, 256},
                      FrameRows{2, 5, 504}, FrameRows{3, 18, 512}, FrameRows{1, 15, 1000},
                      FrameRows{2, 17, 1024}, FrameRows{1, 2, 1031}, FrameRows{2, 3, 1536},
                      FrameRows{1, 3, 2048}, FrameRows{1, 18, 2056}, FrameRows{2, 2, 4096},
                      FrameRows{1, 2, 4104}));

// Rows in registers, wide ones with sums in shared memory, and an element at a time.
const FrameRows kWays[] = {{2, 19, 40}, {1, 17, 1032}, {2, 17, 2072}, {3, 17, 9}};

TEST(GateAddNormKernels, TakeAGradientThatDidNotComeInForZeros) {
  for (const FrameRows shape : kWays) {
    for (const Gradients come : {Gradients{.of_sum = false}, Gradients{.of_y = false}}) {
      expect_kernel_equals_formula<float>(inputs(shape), come);
      expect_kernel_equals_formula<Bf16>(inputs(shape), come);
    }
  }
}

TEST(GateAddNormKernels, ComputeOnlyTheGradientsThatAreWanted) {
  for (const FrameRows shape : kWays) {
    const Inputs in = inputs(shape);
    const Results all = kernel<Bf16>(in, 1);
    const Results x = kernel<Bf16>(in, 2, {.branch = false, .sums = false});
    EXPECT_EQ(x.grad_x, all.grad_x);
    const Results branch = kernel<Bf16>(in, 2, {.x = false, .sums = false});
    EXPECT_EQ(branch.grad_branch, all.grad_branch);
    const Results sums = kernel<Bf16>(in, 2, {.x = false, .branch = false});
    EXPECT_EQ(sums.grad_gate, all.grad_gate);
    EXPECT_EQ(sums.grad_scale, all.grad_scale);
    EXPECT_EQ(sums.grad_shift, all.grad_shift);
    for (const Doubles* none :
         {&x.grad_branch, &x.grad_gate, &x.grad_shift, &branch.grad_x, &sums.grad_x}) {
      for (const double value : *none) EXPECT_TRUE(std::isnan(value)) << "it was written";
    }
  }
}

TEST(GateAddNormKernels, RefuseSomeOfTheSumsAndGradientsOfANormThatWasNotUsed) {
  CudaOnCpu cuda;
  float one = 0;
  const FrameRows shape{1, 1, 8};
  EXPECT_EQ(
      launch_gate_add_norm_backward({.grad = &one, .grad_gate = &one, .shape = shape}, nullptr)
          .code,
      kRefused.code);
  EXPECT_EQ(launch_gate_add_norm_backward(
                {.grad = &one, .grad_gate = &one, .grad_scale = &one, .shape = shape}, nullptr)
                .code,
            kRefused.code);
  EXPECT_EQ(
      launch_gate_add_norm_backward({.grad_sum = &one, .grad_x = &one, .shape = shape}, nullptr)
          .code,
      kRefused.code);
  EXPECT_EQ(cuda.launches(), 0);
}

TEST(GateAddNormKernels, TakeAnyPointerUnaligned) {
  for (size_t i = 0; i < 12; ++i) {
    Inputs in = inputs({2, 3, 64});
    in.skew[i] = 1;
    expect_kernel_equals_formula<float>(in);
    expect_kernel_equals_formula<Bf16>(in);
  }
}

TEST(GateAddNormKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  for (const FrameRows shape : {FrameRows{2, 19, 40}, FrameRows{34, 2, 1032},
                                FrameRows{3, 17, 2056}, FrameRows{34, 17, 9}}) {
    const Inputs in = inputs(shape);
    const Results first = kernel<Bf16>(in, 1);
    for (uint64_t seed = 2; seed < 5; ++seed) {
      const Results other = kernel<Bf16>(in, seed);
      EXPECT_EQ(first.sum, other.sum);
      EXPECT_EQ(first.y, other.y);
      EXPECT_EQ(first.grad_x, other.grad_x);
      EXPECT_EQ(first.grad_branch, other.grad_branch);
      EXPECT_EQ(first.grad_gate, other.grad_gate);
      EXPECT_EQ(first.grad_scale, other.grad_scale);
      EXPECT_EQ(first.grad_shift, other.grad_shift);
    }
  }
}

TEST(GateAddNormKernels, AFrameWithoutTokensHasGradientsOfZero) {
  for (const int64_t width : {16, 7, 2056}) {
    const Results got = kernel<float>(inputs({3, 0, width}), 1);
    const Doubles zeros(static_cast<size_t>(3 * width), 0.0);
    EXPECT_EQ(got.grad_gate, zeros);
    EXPECT_EQ(got.grad_scale, zeros);
    EXPECT_EQ(got.grad_shift, zeros);
  }
}

TEST(GateAddNormKernels, DoNotLaunchForAnEmptyBatchAndRefuseShapesOutOfRange) {
  CudaOnCpu cuda;
  EXPECT_TRUE(launch_gate_add_norm({.shape = {0, 5, 8}}, nullptr).ok());
  EXPECT_TRUE(launch_gate_add_norm({.shape = {5, 0, 8}}, nullptr).ok());
  EXPECT_TRUE(launch_gate_add_norm_backward({.shape = {0, 5, 8}}, nullptr).ok());
  for (const FrameRows shape :
       {FrameRows{-1, 2, 8}, FrameRows{2, -1, 8}, FrameRows{2, 2, 0},
        FrameRows{1, 1, kMaxRowWidth + 1}, FrameRows{INT64_MAX / 64, 2, 8}}) {
    EXPECT_EQ(launch_gate_add_norm({.shape = shape}, nullptr).code, kRefused.code);
    EXPECT_EQ(launch_gate_add_norm_backward({.shape = shape}, nullptr).code, kRefused.code);
  }
  EXPECT_EQ(cuda.launches(), 0);
}

TEST(GateAddNormKernels, KeepNotANumber) {
  Inputs in = inputs({1, 2, 16});
  in.x[3] = std::numeric_limits<float>::quiet_NaN();
  const Results got = kernel<Bf16>(in, 1);
  for (size_t i = 0; i < 16; ++i) EXPECT_TRUE(std::isnan(got.y[i]));
  for (size_t i = 16; i < 32; ++i) EXPECT_FALSE(std::isnan(got.y[i]));
  EXPECT_TRUE(std::isnan(got.sum[3]));
  EXPECT_FALSE(std::isnan(got.sum[4]));
}

}  // namespace
}  // namespace praxino::kernels
