#include "praxino/ops/patch.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>

#include <array>

#include "support/tensors.h"

namespace praxino::ops {
namespace {

at::Tensor levels(at::IntArrayRef sizes, int64_t step = 1) {
  return (at::arange(c10::multiply_integers(sizes), at::kLong) * step)
      .remainder(256)
      .to(at::kByte)
      .view(sizes);
}

TEST(Patches, OfACropEqualThoseOfACopy) {
  const at::Tensor whole = levels({2, 3, 3, 21, 37});
  const at::Tensor crop = whole.narrow(3, 2, 16).narrow(4, 5, 24);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor tokens = patchify(crop, 8, type);
    EXPECT_EQ(tokens.sizes(), at::IntArrayRef({2, 3, 6, 192}));
    EXPECT_EQ(tokens.scalar_type(), type);
    EXPECT_TRUE(tokens.equal(patchify(crop.contiguous(), 8, type)));
  }
}

TEST(Patches, GiveBackEveryLevelInFloatAndAlmostInBf16) {
  const at::Tensor frames = levels({1, 2, 3, 16, 24});
  const PatchShape shape{.rows = 4, .columns = 6, .patch = 4};
  EXPECT_TRUE(unpatchify(patchify(frames, 4, at::kFloat), shape).equal(frames));
  const at::Tensor near = unpatchify(patchify(frames, 4, at::kBFloat16), shape);
  EXPECT_LE((near.to(at::kInt) - frames.to(at::kInt)).abs().max().item<int>(), 1);
}

TEST(PatchEmbed, IsTheLinearMapOfTheTokensWithItsGradients) {
  const at::Tensor frames = levels({1, 2, 3, 16, 24}, 7);
  const at::Tensor weight = testing::normal({10, 48}, 1) * 0.1, bias = testing::normal({10}, 2);
  const at::Tensor upstream = testing::normal({1, 2, 24, 10}, 3);
  for (const auto& [type, tolerance] :
       {std::pair{at::kFloat, 1e-5}, std::pair{at::kBFloat16, 2e-2}}) {
    const auto embed = [&, type = type](const std::vector<at::Tensor>& in) {
      return patch_embed(frames, in[0], in[1], 4, type);
    };
    const at::Tensor tokens = patchify(frames, 4, at::kFloat);
    EXPECT_LT(testing::relative_error(embed({weight, bias}), tokens.matmul(weight.t()) + bias),
              tolerance);
    const auto got = testing::gradients(embed, {weight, bias}, upstream);
    const at::Tensor rows = upstream.flatten(0, 2);
    EXPECT_LT(testing::relative_error(got[0], rows.t().mm(tokens.flatten(0, 2))), tolerance);
    EXPECT_LT(testing::relative_error(got[1], rows.sum(0)), tolerance);
  }
  EXPECT_THROW(patch_embed(frames, weight, bias, 8, at::kFloat), c10::Error);
}

TEST(Patches, RefuseWhatDoesNotFit) {
  const at::Tensor frames = levels({1, 1, 3, 16, 24});
  EXPECT_THROW(patchify(frames, 5, at::kFloat), c10::Error);
  EXPECT_THROW(patchify(frames.to(at::kFloat), 8, at::kFloat), c10::Error);
  EXPECT_THROW(unpatchify(patchify(frames, 8, at::kFloat), {3, 3, 8}), c10::Error);
  EXPECT_THROW(patchify_yuv({frames[0], frames[0], frames[0]}, {}, 8, at::kFloat), c10::Error);
}

// One grey or coloured picture: R, G, B of a Y, U, V by the definition of the matrix.
TEST(YuvPatches, ShowTheColourOfEachMatrixAndRange) {
  struct Book {
    YuvMatrix matrix;
    double red, blue;
  };
  for (const Book& book :
       {Book{YuvMatrix::kBt601, 0.299, 0.114}, Book{YuvMatrix::kBt709, 0.2126, 0.0722},
        Book{YuvMatrix::kBt2020, 0.2627, 0.0593}}) {
    for (const bool full : {false, true}) {
      for (const auto& [y, u, v] : {std::array{16, 128, 128}, std::array{235, 128, 128},
                                    std::array{120, 100, 160}, std::array{90, 170, 110}}) {
        const YuvPlanes planes{at::full({1, 1, 4, 4}, y, at::kByte),
                               at::full({1, 1, 2, 2}, u, at::kByte),
                               at::full({1, 1, 2, 2}, v, at::kByte)};
        const at::Tensor tokens = patchify_yuv(planes, {book.matrix, full}, 2, at::kFloat);
        const double l = full ? y / 255.0 : (y - 16) / 219.0, span = full ? 255.0 : 224.0;
        const double r = l + 2 * (1 - book.red) * (v - 128) / span;
        const double b = l + 2 * (1 - book.blue) * (u - 128) / span;
        const double g = (l - book.red * r - book.blue * b) / (1 - book.red - book.blue);
        const std::array<double, 3> want = {r, g, b};
        for (size_t c = 0; c < 3; ++c) {
          const at::Tensor got = tokens[0][0][3].narrow(0, static_cast<int64_t>(4 * c), 4);
          EXPECT_NEAR(got.max().item<double>(), std::clamp(want[c], 0.0, 1.0) * 2 - 1,
                      1.0 / 255 + 1e-6);
          EXPECT_EQ(got.max().item<double>(), got.min().item<double>());
        }
      }
    }
  }
}

TEST(YuvPatches, TakeThreeQuartersOfTheNearestSampleAndOneOfTheNext) {
  // BT.601 in full range with Y = 128, U = 128: R = 128 + 1.402 (V - 128).
  const at::Tensor v =
      at::arange(0, 4, at::kLong).mul(20).add(100).to(at::kByte).view({1, 1, 1, 4});
  const YuvPlanes planes{at::full({1, 1, 2, 8}, 128, at::kByte),
                         at::full({1, 1, 1, 4}, 128, at::kByte), v};
  const at::Tensor tokens = patchify_yuv(planes, {YuvMatrix::kBt601, true}, 2, at::kFloat);
  const std::array<double, 8> samples = {100, 105, 115, 125, 135, 145, 155, 160};
  for (int64_t x = 0; x < 8; ++x) {
    const double red = (tokens[0][0][x / 2][x % 2].item<double>() + 1) * 127.5;
    EXPECT_NEAR(red, 128 + 1.402 * (samples[static_cast<size_t>(x)] - 128), 0.5 + 1e-3);
  }
}

TEST(YuvPatches, OfOddPicturesHaveHalfASampleMore) {
  const YuvPlanes planes{levels({1, 2, 9, 15}, 7), levels({1, 2, 5, 8}, 11),
                         levels({1, 2, 5, 8}, 13)};
  EXPECT_EQ(patchify_yuv(planes, {}, 3, at::kFloat).sizes(), at::IntArrayRef({1, 2, 15, 27}));
}

}  // namespace
}  // namespace praxino::ops
