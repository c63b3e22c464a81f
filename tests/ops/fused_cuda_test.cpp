// The kernels on a real GPU against the formulas. Without one, all of this skips; the same kernels
// run on the CPU in tests/kernels.
#include "ops/fused_cuda.h"

#include <ATen/core/grad_mode.h>

#include "ops/fused_cases.h"
#include "ops/on_gpu.h"
#include "praxino/ops/norm.h"
#include "praxino/ops/rope.h"

namespace praxino::ops {
namespace {

using testing::normal;

// Beside test shapes: widths of each way to spread a row, and frames of several chunks.
const std::vector<FusedShape>& shapes() {
  static const std::vector<FusedShape> list = {{1, 1, 1, 4},     {2, 3, 5, 16},   {3, 2, 7, 33},
                                               {1, 4, 50, 64},   {2, 2, 130, 72}, {2, 3, 67, 256},
                                               {1, 2, 33, 1024}, {1, 2, 9, 2048}, {1, 2, 19, 2056},
                                               {1, 1, 5, 4096},  {1, 1, 3, 5000}};
  return list;
}

class FusedCuda : public OnGpu {
 protected:
  const FusedCases cases_{gpu, GetParam()};
};

TEST_P(FusedCuda, NormModulateEqualsItsFormula) {
  for (const FusedShape& shape : shapes()) expect_two_fold(cases_.norm_modulate(shape));
}

TEST_P(FusedCuda, GateAddEqualsItsFormula) {
  for (const FusedShape& shape : shapes()) expect_two_fold(cases_.gate_add(shape));
}

// Both results, and each alone.
TEST_P(FusedCuda, GateAddNormEqualsItsFormula) {
  for (const Gated which : {Gated::kBoth, Gated::kSum, Gated::kNorm}) {
    for (const FusedShape& shape : shapes()) expect_two_fold(cases_.gate_add_norm(shape, which));
  }
}

TEST_P(FusedCuda, SwiGluEqualsItsFormula) {
  for (const FusedShape& shape : shapes()) expect_two_fold(cases_.swiglu(shape));
}

TEST_P(FusedCuda, NormRotateEqualsItsFormula) {
  for (const FusedShape& shape :
       {FusedShape{2, 5, 3, 16}, FusedShape{3, 7, 2, 34}, FusedShape{4, 130, 3, 64},
        FusedShape{2, 33, 5, 128}, FusedShape{1, 3, 2, 512}, FusedShape{1, 2, 2, 520}})
    expect_two_fold(cases_.norm_rotate(shape));
}

// Used keys of a cache with other slots behind them: rows of a batch are not next to each other.
TEST_P(FusedCuda, RotateEqualsItsFormula) {
  const at::NoGradGuard no_gradient;  // it has none
  for (const FusedShape& shape :
       {FusedShape{1, 5, 3, 16}, FusedShape{3, 7, 2, 34}, FusedShape{2, 130, 3, 128}}) {
    const at::Tensor slots =
        gpu(normal({shape.b, shape.t + 2, shape.n, shape.d}, 5)).to(GetParam());
    const at::Tensor x = slots.narrow(1, 0, shape.t);
    const at::Tensor cos = gpu(normal({shape.t, shape.d / 2}, 7)),
                     sin = gpu(normal({shape.t, shape.d / 2}, 8));
    const at::Tensor want = formula::rotate(x.to(at::kFloat), cos, sin);
    const at::Tensor got = cuda::rotate(x, cos, sin).value();
    EXPECT_TRUE(testing::within_two_fold(got, formula::rotate(x, cos, sin), want, GetParam()));
  }
  const at::Tensor x = gpu(normal({1, 3, 2, 16})).to(GetParam()), table = gpu(normal({3, 8}));
  EXPECT_TRUE(cuda::checked::rotate(x, table, table).has_value());
  EXPECT_FALSE(cuda::rotate(x, table.narrow(0, 0, 2), table).has_value());
}

// A warp a row, a block a row, rows that are read twice.
TEST_P(FusedCuda, CrossEntropyEqualsItsFormula) {
  for (const auto& [rows, classes] : std::vector<std::pair<int64_t, int64_t>>{
           {37, 64}, {9, 33}, {5, 1024}, {7, 8192}, {5, 8200}, {3, 50'257}, {2, 65'536}})
    expect_two_fold(cases_.cross_entropy(rows, classes));
}

TEST_P(FusedCuda, CrossEntropyRunsBackwardOnce) {
  const at::Tensor leaf = gpu(normal({4, 64})).to(GetParam()).requires_grad_();
  const at::Tensor kept = leaf.detach().clone();
  const at::Tensor targets = gpu(at::arange(4, at::TensorOptions(at::kLong)));
  const at::Tensor loss = cuda::cross_entropy(leaf, targets, {})->sum();
  loss.backward({}, /*retain_graph=*/true);
  EXPECT_TRUE(testing::same_bits(leaf.detach(), kept)) << "a leaf was overwritten";
  EXPECT_THROW(loss.backward(), c10::Error);
}

TEST_P(FusedCuda, AreTakenByThePublicFunctions) {
  const at::Tensor ab = gpu(normal({8, 64})).to(GetParam());
  ASSERT_TRUE(cuda::checked::swiglu(ab).has_value()) << "the check at the first use failed";
  EXPECT_TRUE(testing::same_bits(swiglu(ab).cpu(), cuda::swiglu(ab)->cpu()));
  const at::Tensor x = gpu(normal({1, 2, 8, 64})), frame = gpu(normal({1, 2, 64}));
  EXPECT_TRUE(cuda::checked::norm_modulate(x, frame, frame, GetParam()).has_value());
  EXPECT_TRUE(cuda::checked::gate_add(x, frame, x.to(GetParam())).has_value());
  EXPECT_TRUE(cuda::checked::gate_add_norm(x, frame, x.to(GetParam()), {frame, frame}, GetParam())
                  .has_value());
  const at::Tensor table = gpu(normal({2, 32}));
  EXPECT_TRUE(cuda::checked::norm_rotate(x.to(GetParam()), frame[0][0], table, table).has_value());
}

TEST_P(FusedCuda, ServeOnlyWhatTheyKnow) {
  EXPECT_FALSE(cuda::swiglu(gpu(normal({4, 8})).to(at::kDouble)).has_value());
  EXPECT_FALSE(cuda::swiglu(gpu(normal({0, 8})).to(GetParam())).has_value());
  EXPECT_FALSE(cuda::swiglu(normal({4, 8}).to(GetParam())).has_value());
  EXPECT_EQ(swiglu(gpu(normal({0, 8})).to(GetParam())).size(1), 4);

  // Operands of other sizes are the formula's, which broadcasts or refuses.
  const at::Tensor x = gpu(normal({2, 3, 5, 16})), frame = gpu(normal({2, 3, 16}));
  const at::Tensor one = frame.narrow(1, 0, 1);
  EXPECT_FALSE(cuda::norm_modulate(x, one, frame, GetParam()).has_value());
  EXPECT_FALSE(cuda::norm_modulate(x, frame, frame.cpu(), GetParam()).has_value());
  EXPECT_FALSE(cuda::gate_add(x, one, x.to(GetParam())).has_value());
  EXPECT_FALSE(cuda::gate_add(x, frame, x.narrow(2, 0, 1).to(GetParam())).has_value());
  EXPECT_FALSE(
      cuda::gate_add_norm(x, frame, x.to(GetParam()), {frame, one}, GetParam()).has_value());
  EXPECT_FALSE(
      cuda::gate_add_norm(x, frame, x.to(at::kHalf), {frame, frame}, GetParam()).has_value());
  const at::Tensor table = gpu(normal({3, 8})), gain = gpu(normal({16}));
  EXPECT_FALSE(cuda::norm_rotate(x.to(GetParam()), gain, table.narrow(0, 0, 2), table).has_value());
  EXPECT_FALSE(cuda::norm_rotate(x.to(GetParam()), gain[0], table, table).has_value());
}

INSTANTIATE_TEST_SUITE_P(Types, FusedCuda, ::testing::Values(at::kFloat, at::kBFloat16));

}  // namespace
}  // namespace praxino::ops
