// The kernels themselves, executed on the CPU, against the operation's formula in double.
#include "kernels/gate_add.h"

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
  std::vector<float> x, gate, grad;
  Doubles branch;
  std::array<size_t, 6> skew{};  // elements from aligned addresses, in the order of upload
};

Inputs inputs(FrameRows shape) {
  const int64_t elements = shape.rows() * shape.width;
  return {.shape = shape,
          .x = normal<float>(elements, 1),
          .gate = normal<float>(shape.frames * shape.width, 2),
          .grad = normal<float>(elements, 3),
          .branch = exact(normal<Bf16>(elements, 4))};
}

struct Results {
  Doubles y, grad_branch, grad_gate;
};

Results formula(const Inputs& in) {
  const auto frame_size = static_cast<size_t>(in.shape.tokens * in.shape.width);
  const auto width = static_cast<size_t>(in.shape.width);
  Results out;
  out.grad_gate.resize(in.gate.size());
  for (size_t i = 0; i < in.x.size(); ++i) {
    const size_t at = i / frame_size * width + i % width;
    const double gate = double{in.gate[at]}, grad = double{in.grad[i]};
    out.y.push_back(double{in.x[i]} + gate * in.branch[i]);
    out.grad_branch.push_back(grad * gate);
    out.grad_gate[at] += grad * in.branch[i];
  }
  return out;
}

struct Wanted {
  bool branch = true, gate = true;
};

template <class T>
Results kernel(const Inputs& in, uint64_t seed, Wanted wanted = {}) {
  // Launchers choose their grids by the number of multiprocessors: results must not depend on it.
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  std::vector<T> branch;
  for (const double value : in.branch) branch.push_back(testing::rounded<T>(value));
  const GateAdd forward{.x = cuda.upload(in.x, "x", in.skew[0]),
                        .gate = cuda.upload(in.gate, "gate", in.skew[1]),
                        .branch = cuda.upload(branch, "branch", in.skew[2]),
                        .y = cuda.allocate<float>(in.x.size(), "y", in.skew[3]),
                        .shape = in.shape,
                        .element = kElementOf<T>};
  T* grad_branch = cuda.allocate<T>(in.x.size(), "grad_branch", in.skew[5]);
  float* grad_gate = cuda.allocate<float>(in.gate.size(), "grad_gate");
  const auto workspace = static_cast<size_t>(chunk_workspace(in.shape, 1));
  const GateAddBackward backward{.grad = cuda.upload(in.grad, "grad", in.skew[4]),
                                 .gate = forward.gate,
                                 .branch = forward.branch,
                                 .grad_branch = wanted.branch ? grad_branch : nullptr,
                                 .grad_gate = wanted.gate ? grad_gate : nullptr,
                                 .workspace = cuda.allocate<float>(workspace, "workspace"),
                                 .shape = in.shape,
                                 .element = kElementOf<T>};
  EXPECT_TRUE(launch_gate_add(forward, nullptr).ok());
  EXPECT_TRUE(launch_gate_add_backward(backward, nullptr).ok());
  return {exact(cuda.download(forward.y, in.x.size())),
          exact(cuda.download(grad_branch, in.x.size())),
          exact(cuda.download(grad_gate, in.gate.size()))};
}

// What is float comes from float arithmetic whatever the type of the branch.
template <class T>
void expect_kernel_equals_formula(const Inputs& in) {
  const Results got = kernel<T>(in, 1), want = formula(in);
  EXPECT_LE(distance(got.y, want.y), kFloatTolerance * largest(want.y));
  EXPECT_LE(distance(got.grad_gate, want.grad_gate), kFloatTolerance * largest(want.grad_gate));
  EXPECT_LE(distance(got.grad_branch, want.grad_branch), bound<T>(want.grad_branch));
}

class GateAddKernel : public ::testing::TestWithParam<FrameRows> {};

TEST_P(GateAddKernel, EqualsItsFormulaInFloat) {
  expect_kernel_equals_formula<float>(inputs(GetParam()));
}
TEST_P(GateAddKernel, EqualsItsFormulaInBf16) {
  expect_kernel_equals_formula<Bf16>(inputs(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, GateAddKernel,
    ::testing::Values(FrameRows{1, 1, 1}, FrameRows{3, 37, 3}, FrameRows{3, 5, 8},
                      FrameRows{2, 17, 31}, FrameRows{5, 33, 64}, FrameRows{3, 15, 72},
                      FrameRows{2, 19, 127}, FrameRows{2, 16, 256}, FrameRows{2, 5, 504},
                      FrameRows{3, 18, 512}, FrameRows{2, 17, 1024}, FrameRows{1, 2, 1031},
                      FrameRows{2, 3, 1536}, FrameRows{2, 2, 4096}, FrameRows{1, 2, 4104}));

TEST(GateAddKernels, TakeAnyPointerUnaligned) {
  for (size_t i = 0; i < 6; ++i) {
    Inputs in = inputs({2, 3, 64});
    in.skew[i] = 1;
    expect_kernel_equals_formula<float>(in);
    expect_kernel_equals_formula<Bf16>(in);
  }
}

TEST(GateAddKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  for (const FrameRows shape :
       {FrameRows{2, 19, 40}, FrameRows{34, 2, 1032}, FrameRows{34, 17, 9}}) {
    const Inputs in = inputs(shape);
    const Results first = kernel<Bf16>(in, 1);
    for (uint64_t seed = 2; seed < 5; ++seed) {
      const Results other = kernel<Bf16>(in, seed);
      EXPECT_EQ(first.y, other.y);
      EXPECT_EQ(first.grad_branch, other.grad_branch);
      EXPECT_EQ(first.grad_gate, other.grad_gate);
    }
  }
}

TEST(GateAddKernels, ComputeOnlyTheGradientsThatAreWanted) {
  for (const FrameRows shape : {FrameRows{2, 19, 40}, FrameRows{3, 17, 9}}) {
    const Inputs in = inputs(shape);
    const Results both = kernel<Bf16>(in, 1);
    EXPECT_EQ(kernel<Bf16>(in, 2, {.branch = true, .gate = false}).grad_branch, both.grad_branch);
    EXPECT_EQ(kernel<Bf16>(in, 2, {.branch = false, .gate = true}).grad_gate, both.grad_gate);
  }
}

TEST(GateAddKernels, AFrameWithoutTokensHasAGradientOfZero) {
  EXPECT_EQ(kernel<float>(inputs({3, 0, 16}), 1).grad_gate, Doubles(48, 0.0));
  EXPECT_EQ(kernel<float>(inputs({3, 0, 7}), 1).grad_gate, Doubles(21, 0.0));
}

TEST(GateAddKernels, DoNotLaunchForAnEmptyBatchAndRefuseShapesOutOfRange) {
  CudaOnCpu cuda;
  EXPECT_TRUE(launch_gate_add({.shape = {0, 5, 8}}, nullptr).ok());
  EXPECT_TRUE(launch_gate_add({.shape = {5, 0, 8}}, nullptr).ok());
  EXPECT_TRUE(launch_gate_add_backward({.shape = {0, 5, 8}}, nullptr).ok());
  for (const FrameRows shape : {FrameRows{-1, 2, 8}, FrameRows{2, 2, 0}}) {
    EXPECT_EQ(launch_gate_add({.shape = shape}, nullptr).code, kRefused.code);
    EXPECT_EQ(launch_gate_add_backward({.shape = shape}, nullptr).code, kRefused.code);
  }
  EXPECT_EQ(cuda.launches(), 0);
}

}  // namespace
}  // namespace praxino::kernels
