// The kernels between pixels, tokens and codes on a real GPU against the formulas.
#include "ops/tokens_cuda.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>

#include "kernels/codebook_grid.h"
#include "ops/kernel_registry.h"
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
  expect_two_fold(
      {.kernel =
           [&](const Inputs& in) {
             return cuda::finite_scalar_quantize(gpu(in[0]).to(GetParam()), levels)
                 .value()
                 .codes.cpu();
           },
       .formula =
           [&](const Inputs& in, at::ScalarType type) {
             return formula::finite_scalar_quantize(gpu(in[0]).to(type), {8, 5, 5, 6}).codes.cpu();
           },
       .inputs = {normal({3, 517, 4}, 1)},
       .rounded = {0},
       .type = GetParam()});
}

TEST(TokensCudaEmbed, EqualsItsFormulaInBf16) {
  int count = 0;
  if (!kernels::device_count(count).ok()) GTEST_SKIP() << "no usable GPU";
  for (const auto& [patch, outputs] :
       {std::pair{8, 256}, std::pair{16, 1024}, std::pair{4, 100}, std::pair{5, 33}}) {
    const at::Tensor frames = levels({2, 3, 3, 4 * patch, 9 * patch}, 37);
    const int64_t width = int64_t{3} * patch * patch;
    const std::vector<at::Tensor> inputs = {
        normal({outputs, width}, 1) / std::sqrt(static_cast<double>(width)), normal({outputs}, 2)};
    const auto kernel = [&, patch = patch](const std::vector<at::Tensor>& in) {
      return cuda::patch_embed(frames, gpu(in[0]), gpu(in[1]), patch, at::kBFloat16).value().cpu();
    };
    const auto formula = [&, patch = patch](const std::vector<at::Tensor>& in,
                                            at::ScalarType type) {
      return formula::patch_embed(frames, gpu(in[0]), gpu(in[1]), patch, type).cpu();
    };
    EXPECT_TRUE(testing::keeps_two_fold({kernel, formula, inputs, {}, at::kBFloat16}));
  }
}

// By every tier of kernels that the chip has.
TEST_P(TokensCuda, NearestCodesAreThoseOfASearchInDouble) {
  for (const auto& [rows, codes, width] :
       {std::tuple{1, 1, 16}, std::tuple{1000, 3, 32}, std::tuple{5000, 1024, 32},
        std::tuple{777, 8192, 64}, std::tuple{300, 1000, 144}, std::tuple{300, 65536, 16},
        std::tuple{3000, 2000, 128}, std::tuple{500, 257, 256}}) {
    const at::Tensor x = gpu(normal({rows, width}, 1)).to(GetParam());
    const at::Tensor book = gpu(normal({codes, width}, 2));
    const at::Tensor twice = at::cat({book, book}), near = book.narrow(0, 0, 1) + book * 1e-6;
    const at::Tensor want = formula::nearest_code(x, book),
                     want_near = formula::nearest_code(x, near);
    for (const kernels::Tier tier : {kernels::Tier::kPortable, kernels::Tier::kHopper}) {
      if (!kernels::runs_on(tier, cuda::tier_of(x.device()))) continue;
      const auto found = [&](const at::Tensor& in) {
        return cuda::nearest_code(x, in, tier).value();
      };
      EXPECT_TRUE(same_bits(found(book), want)) << kernels::to_string(tier);
      if (2 * codes <= kernels::kMaxCodes) {
        EXPECT_TRUE(same_bits(found(twice), want)) << kernels::to_string(tier);
      }
      EXPECT_TRUE(same_bits(found(near), want_near)) << kernels::to_string(tier);
    }
  }
}

TEST_P(TokensCuda, CodeStatisticsEqualTheirFormulaAndRepeatTheirBits) {
  for (const int64_t codes : {1, 50, 3000}) {
    const at::Tensor x = gpu(normal({3001, 48}, 1)).to(GetParam());
    const at::Tensor indices =
        gpu((testing::uniform({3001}, 2).square() * static_cast<double>(codes)).to(at::kLong));
    const CodeStatistics want = formula::code_statistics(x, indices, codes);
    const CodeStatistics got = cuda::code_statistics(x, indices, codes).value();
    EXPECT_TRUE(same_bits(got.counts, want.counts));
    EXPECT_LT(testing::relative_error(got.sums.cpu(), want.sums.cpu()), 2e-5);
    for (int repetition = 0; repetition < testing::repetitions(100); ++repetition)
      ASSERT_TRUE(same_bits(cuda::code_statistics(x, indices, codes)->sums, got.sums));
  }
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
  const at::Tensor x = gpu(normal({5, 32})).to(GetParam()), book = gpu(normal({7, 32}));
  const auto indices = cuda::checked::nearest_code(x, book);
  ASSERT_TRUE(indices.has_value());
  EXPECT_TRUE(cuda::checked::code_statistics(x, *indices, 7).has_value());
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
