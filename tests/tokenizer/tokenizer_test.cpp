#include "praxino/tokenizer/tokenizer.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>

#include <vector>

#include "support/error_text.h"

namespace praxino {
namespace {

using testing::error_text;
using ::testing::HasSubstr;

/// B T 3 Y X pixels that count up through all levels, again and again.
at::Tensor counting(at::IntArrayRef sizes) {
  return at::arange(c10::multiply_integers(sizes), at::kLong)
      .remainder(256)
      .to(at::kByte)
      .view(sizes);
}

TEST(PatchTokenizer, GivesBackEveryLevelOfEveryPixel) {
  for (const int64_t patch : {1, 2, 8}) {
    const auto tokenizer = make_tokenizer({.patch = patch}, {16, 24});
    const at::Tensor frames = counting({2, 3, 3, 16, 24});
    const Tokens tokens = tokenizer->encode(frames);
    EXPECT_EQ(tokens.values.sizes(),
              at::IntArrayRef({2, 3, (16 / patch) * (24 / patch), 3 * patch * patch}));
    EXPECT_EQ(tokens.values.scalar_type(), at::kFloat);
    EXPECT_EQ(tokens.grid, tokenizer->grid());
    EXPECT_EQ(tokens.grid.rows, 16 / patch);
    EXPECT_EQ(tokens.grid.columns, 24 / patch);
    EXPECT_TRUE(tokenizer->decode(tokens.values).equal(frames)) << "patch " << patch;
  }
}

TEST(PatchTokenizer, HoldsItsSquareInTheOrderColourRowColumn) {
  // Pixels are 60 c + 10 y + x, in a picture of 2 x 2 patches of 2 x 2 pixels.
  at::Tensor frames = at::empty({1, 1, 3, 4, 4}, at::kByte);
  for (int64_t i = 0; i < 48; ++i)
    frames.data_ptr<uint8_t>()[i] = static_cast<uint8_t>(60 * (i / 16) + 10 * (i / 4 % 4) + i % 4);
  const at::Tensor values = make_tokenizer({.patch = 2}, {4, 4})->encode(frames).values[0][0];
  const auto expect_token = [&](int64_t token, const std::vector<int64_t>& pixels) {
    for (size_t i = 0; i < pixels.size(); ++i) {
      const double want = static_cast<double>(pixels[i]) * 2 / 255 - 1;
      EXPECT_NEAR(values[token][static_cast<int64_t>(i)].item<double>(), want, 1e-6)
          << "token " << token << ", value " << i;
    }
  };
  expect_token(0, {0, 1, 10, 11, 60, 61, 70, 71, 120, 121, 130, 131});
  expect_token(1, {2, 3, 12, 13, 62, 63, 72, 73, 122, 123, 132, 133});
  expect_token(2, {20, 21, 30, 31, 80, 81, 90, 91, 140, 141, 150, 151});
  expect_token(3, {22, 23, 32, 33, 82, 83, 92, 93, 142, 143, 152, 153});
}

TEST(PatchTokenizer, RoundsAndClampsToTheLevelsOfAPixel) {
  const auto tokenizer = make_tokenizer({.patch = 2}, {2, 2});
  const auto level = [&](double value) {
    const at::Tensor picture = tokenizer->decode(at::full({1, 1, 1, 12}, value, at::kFloat));
    EXPECT_TRUE(picture.eq(picture.flatten()[0]).all().item<bool>());
    return static_cast<int>(picture.flatten()[0].item<uint8_t>());
  };
  EXPECT_EQ(level(-1), 0);
  EXPECT_EQ(level(1), 255);
  EXPECT_EQ(level(-1.5), 0);
  EXPECT_EQ(level(100), 255);
  EXPECT_EQ(level(100.4 * 2 / 255 - 1), 100);
  EXPECT_EQ(level(100.6 * 2 / 255 - 1), 101);
}

TEST(PatchTokenizer, RefusesAPatchThatDoesNotDivideThePicture) {
  const auto refusal = [](int64_t height, int64_t width) {
    return error_text([=] { make_tokenizer({.patch = 8}, {height, width}); });
  };
  EXPECT_THAT(refusal(20, 16), HasSubstr("tokenizer.patch 8 does not divide data.size [20, 16]"));
  EXPECT_THAT(refusal(16, 20), HasSubstr("[16, 20]"));
}

}  // namespace
}  // namespace praxino
