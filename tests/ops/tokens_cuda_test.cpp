// The kernels between pixels, tokens and codes on a real GPU against the formulas.
#include "ops/tokens_cuda.h"

#include <ATen/ops/arange.h>

#include "ops/on_gpu.h"

namespace praxino::ops {
namespace {

using testing::normal;
using testing::same_bits;

at::Tensor levels(at::IntArrayRef sizes, int64_t step) {
  return gpu((at::arange(c10::multiply_integers(sizes), at::kLong) * step)
                 .remainder(256)
                 .to(at::kByte)
                 .view(sizes));
}

class TokensCuda : public OnGpu {};

TEST_P(TokensCuda, PatchesHaveTheBitsOfTheirFormula) {
  for (const int64_t patch : {1, 3, 4, 8, 12, 14, 16, 32}) {
    const at::Tensor whole = levels({2, 3, 3, 2 * patch + 3, 5 * patch + 9}, 37);
    const at::Tensor crop = whole.narrow(3, 2, 2 * patch).narrow(4, 5, 5 * patch);
    for (const at::Tensor& frames : {crop, crop.contiguous()}) {
      const at::Tensor tokens = cuda::patchify(frames, patch, GetParam()).value();
      EXPECT_TRUE(same_bits(tokens, formula::patchify(frames, patch, GetParam()))) << patch;
      const PatchShape shape{.rows = 2, .columns = 5, .patch = patch};
      const at::Tensor noisy = (tokens + gpu(normal(tokens.sizes(), 5)) * 0.1).to(GetParam());
      EXPECT_TRUE(
          same_bits(cuda::unpatchify(noisy, shape).value(), formula::unpatchify(noisy, shape)))
          << patch;
    }
  }
}

TEST_P(TokensCuda, PatchesOfPlanesHaveTheBitsOfTheirFormula) {
  for (const YuvMatrix matrix : {YuvMatrix::kBt601, YuvMatrix::kBt709, YuvMatrix::kBt2020}) {
    for (const int64_t patch : {1, 3, 4, 8, 12, 16}) {
      const int64_t rows = (3 * patch + 1) / 2, columns = (5 * patch + 1) / 2;
      const YuvPlanes planes{levels({2, 2, 3 * patch, 5 * patch}, 37),
                             levels({2, 2, rows, columns}, 29), levels({2, 2, rows, columns}, 31)};
      const YuvColor color{matrix, patch % 2 == 0};
      EXPECT_TRUE(same_bits(cuda::patchify_yuv(planes, color, patch, GetParam()).value(),
                            formula::patchify_yuv(planes, color, patch, GetParam())))
          << patch;
    }
  }
}

TEST_P(TokensCuda, FiniteScalarQuantizeEqualsItsFormula) {
  const kernels::FsqLevels levels{.channels = 4, .of = {8, 5, 5, 6}};
  expect_equal(
      [&](const Inputs& in) {
        return cuda::finite_scalar_quantize(gpu(in[0]).to(GetParam()), levels).value().codes.cpu();
      },
      [&](const Inputs& in) {
        return formula::finite_scalar_quantize(gpu(in[0]).to(GetParam()), {8, 5, 5, 6}).codes.cpu();
      },
      {normal({3, 517, 4}, 1)});
}

TEST_P(TokensCuda, AreTakenByThePublicFunctions) {
  const at::Tensor frames = levels({1, 2, 3, 16, 24}, 3);
  const auto tokens = cuda::checked::patchify(frames, 8, GetParam());
  ASSERT_TRUE(tokens.has_value()) << "the check at the first use failed";
  EXPECT_TRUE(same_bits(patchify(frames, 8, GetParam()), *tokens));
  EXPECT_TRUE(cuda::checked::unpatchify(*tokens, {2, 3, 8}).has_value());
  const at::Tensor chroma = levels({1, 2, 8, 12}, 5);
  EXPECT_TRUE(cuda::checked::patchify_yuv({frames.select(2, 0), chroma, chroma}, {}, 8, GetParam())
                  .has_value());
  const at::Tensor z = gpu(normal({5, 2})).to(GetParam());
  EXPECT_TRUE(cuda::checked::finite_scalar_quantize(z, {2, {3, 4}}).has_value());
}

TEST_P(TokensCuda, ServeOnlyWhatTheyKnow) {
  const at::Tensor frames = levels({1, 1, 3, 256, 256}, 3);
  EXPECT_FALSE(cuda::patchify(frames, 128, GetParam()).has_value());
  EXPECT_FALSE(cuda::patchify(frames, 8, at::kDouble).has_value());
  EXPECT_FALSE(cuda::patchify(frames.cpu(), 8, GetParam()).has_value());
  EXPECT_EQ(patchify(frames, 128, GetParam()).size(2), 4);
}

INSTANTIATE_TEST_SUITE_P(Types, TokensCuda, ::testing::Values(at::kFloat, at::kBFloat16));

}  // namespace
}  // namespace praxino::ops
