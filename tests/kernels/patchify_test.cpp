// The kernels themselves, executed on the CPU, against the operation's formula.
#include "kernels/patchify.h"

#include <gtest/gtest.h>

#include <random>

#include "kernels/numbers.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using testing::kElementOf;
using testing::rounded;

struct Case {
  PatchGrid grid;
  int64_t crop = 0;        // pixels to the left and above, and twice as many on the other sides
  size_t skew_pixels = 0;  // from an aligned address
  size_t skew_tokens = 0;
};

// A larger picture, of which the grid is the crop.
PictureStrides strides_of(const Case& c) {
  const int64_t width = c.grid.width() + 3 * c.crop, height = c.grid.height() + 3 * c.crop;
  const int64_t plane = width * height, frame = plane * c.grid.channels;
  return {frame * c.grid.time, frame, plane, width};
}

int64_t corner_of(const Case& c) { return c.crop * strides_of(c).row + c.crop; }

// Calls visit(element of the tokens, offset of its pixel from the corner).
template <class Visit>
void each_pixel(const Case& c, Visit visit) {
  const PatchGrid& g = c.grid;
  const PictureStrides s = strides_of(c);
  int64_t element = 0;
  for (int64_t f = 0; f < g.frames(); ++f) {
    for (int64_t place = 0; place < g.rows * g.columns; ++place) {
      for (int64_t channel = 0; channel < g.channels; ++channel) {
        for (int64_t i = 0; i < g.patch * g.patch; ++i) {
          const int64_t y = place / g.columns * g.patch + i / g.patch;
          const int64_t x = place % g.columns * g.patch + i % g.patch;
          visit(static_cast<size_t>(element++),
                static_cast<size_t>(f / g.time * s.batch + f % g.time * s.time +
                                    channel * s.channel + y * s.row + x));
        }
      }
    }
  }
}

std::vector<uint8_t> random_pixels(const Case& c, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> pixels(static_cast<size_t>(c.grid.batch * strides_of(c).batch));
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random());
  return pixels;
}

float normalized(uint8_t pixel) {
  const float scaled = static_cast<float>(pixel) * static_cast<float>(2.0 / 255.0);
  return scaled - 1.0F;
}

template <class T>
std::vector<T> tokens_of(const std::vector<uint8_t>& pixels, const Case& c, uint64_t seed) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  const auto count = static_cast<size_t>(c.grid.elements());
  T* tokens = cuda.allocate<T>(count, "tokens", c.skew_tokens);
  const Status status =
      launch_patchify({cuda.upload(pixels, "pixels", c.skew_pixels) + corner_of(c), tokens, c.grid,
                       strides_of(c), kElementOf<T>},
                      nullptr);
  EXPECT_TRUE(status.ok());
  return cuda.download(tokens, count);
}

template <class T>
std::vector<uint8_t> pixels_of(const std::vector<T>& tokens, const Case& c, uint64_t seed) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  const auto count = static_cast<size_t>(c.grid.batch * strides_of(c).batch);
  uint8_t* pixels = cuda.allocate<uint8_t>(count, "pixels", c.skew_pixels);
  const Status status =
      launch_unpatchify({cuda.upload(tokens, "tokens", c.skew_tokens), pixels + corner_of(c),
                         c.grid, strides_of(c), kElementOf<T>},
                        nullptr);
  EXPECT_TRUE(status.ok());
  return cuda.download(pixels, count);
}

template <class T>
void expect_tokens_equal_the_formula(const Case& c) {
  const std::vector<uint8_t> pixels = random_pixels(c, 1);
  const std::vector<T> tokens = tokens_of<T>(pixels, c, 1);
  size_t wrong = 0;
  each_pixel(c, [&](size_t element, size_t offset) {
    const uint8_t pixel = pixels[offset + static_cast<size_t>(corner_of(c))];
    const T want = rounded<T>(static_cast<double>(normalized(pixel)));
    wrong += to_float(tokens[element]) == to_float(want) ? 0U : 1U;
  });
  EXPECT_EQ(wrong, 0U);
}

template <class T>
void expect_pixels_equal_the_formula(const Case& c) {
  const auto tokens = testing::normal<T>(c.grid.elements(), 2, 0.7);
  const std::vector<uint8_t> pixels = pixels_of(tokens, c, 1);
  std::vector<bool> inside(pixels.size());
  size_t wrong = 0;
  each_pixel(c, [&](size_t element, size_t offset) {
    const size_t at = offset + static_cast<size_t>(corner_of(c));
    const float level = std::nearbyint((to_float(tokens[element]) + 1.0F) * 127.5F);
    const float want = level < 0 ? 0 : level > 255 ? 255 : level;
    wrong += static_cast<float>(pixels[at]) == want ? 0U : 1U;
    inside[at] = true;
  });
  EXPECT_EQ(wrong, 0U);
  for (size_t i = 0; i < pixels.size(); ++i) {
    ASSERT_TRUE(inside[i] || pixels[i] == 0xff) << "pixels around the crop are left alone";
  }
}

class PatchKernels : public ::testing::TestWithParam<Case> {};

TEST_P(PatchKernels, MakeTheTokensOfTheFormulaInFloat) {
  expect_tokens_equal_the_formula<float>(GetParam());
}
TEST_P(PatchKernels, MakeTheTokensOfTheFormulaInBf16) {
  expect_tokens_equal_the_formula<Bf16>(GetParam());
}
TEST_P(PatchKernels, MakeThePixelsOfTheFormulaFromFloat) {
  expect_pixels_equal_the_formula<float>(GetParam());
}
TEST_P(PatchKernels, MakeThePixelsOfTheFormulaFromBf16) {
  expect_pixels_equal_the_formula<Bf16>(GetParam());
}

// Patches of every way to access them, aligned and not, in one strip a row and in several; more
// strips than blocks.
INSTANTIATE_TEST_SUITE_P(Cases, PatchKernels,
                         ::testing::Values(Case{{1, 1, 1, 1, 1, 1}}, Case{{2, 3, 2, 3, 3, 2}},
                                           Case{{1, 2, 2, 3, 3, 3}, 1}, Case{{1, 1, 3, 5, 3, 4}},
                                           Case{{1, 4, 12, 1, 3, 4}}, Case{{2, 2, 2, 2, 3, 8}},
                                           Case{{1, 2, 2, 3, 3, 8}, 8}, Case{{1, 1, 2, 3, 3, 8}, 5},
                                           Case{{1, 1, 1, 3, 3, 12}, 4}, Case{{1, 1, 1, 2, 3, 14}},
                                           Case{{1, 1, 2, 3, 3, 16}}, Case{{1, 1, 1, 40, 3, 16}},
                                           Case{{1, 1, 1, 1, 4, 60}},
                                           Case{{2, 1, 2, 2, 3, 8}, 0, 3},
                                           Case{{2, 1, 2, 2, 3, 8}, 0, 4},
                                           Case{{2, 1, 2, 2, 3, 8}, 0, 0, 1}));

TEST(PatchKernels, GiveBackEveryLevelOfEveryPixel) {
  for (const int64_t patch : {2, 8}) {
    const Case c{{1, 2, 16 / patch, 32 / patch, 3, patch}};
    std::vector<uint8_t> pixels(2 * 3 * 16 * 32);
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i);
    EXPECT_EQ(pixels_of(tokens_of<float>(pixels, c, 1), c, 1), pixels);
  }
}

TEST(PatchKernels, ClampInfinitiesAndMakeZeroOfNotANumber) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> tokens = {-infinity, infinity, std::numeric_limits<float>::quiet_NaN(),
                                     1e30F};
  EXPECT_EQ(pixels_of(tokens, {{1, 1, 1, 1, 1, 2}}, 1), (std::vector<uint8_t>{0, 255, 0, 255}));
}

TEST(PatchKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  const Case c{{2, 2, 2, 6, 3, 8}, 3};
  const std::vector<uint8_t> pixels = random_pixels(c, 3);
  const auto tokens = testing::normal<Bf16>(c.grid.elements(), 4);
  const auto first = testing::exact(tokens_of<Bf16>(pixels, c, 1));
  const auto first_pixels = pixels_of(tokens, c, 1);
  for (uint64_t seed = 2; seed < 5; ++seed) {
    EXPECT_EQ(testing::exact(tokens_of<Bf16>(pixels, c, seed)), first);
    EXPECT_EQ(pixels_of(tokens, c, seed), first_pixels);
  }
}

TEST(PatchKernels, DoNotLaunchForAnEmptyBatchNorForWhatIsOutOfRange) {
  CudaOnCpu cuda;
  EXPECT_TRUE(launch_patchify({.grid = {0, 4, 2, 2, 3, 8}}, nullptr).ok());
  EXPECT_TRUE(launch_unpatchify({.grid = {4, 4, 0, 2, 3, 8}}, nullptr).ok());
  for (const PatchGrid grid : {PatchGrid{1, 1, 1, 1, 3, 128}, PatchGrid{1, -1, 1, 1, 3, 8}}) {
    EXPECT_EQ(launch_patchify({.grid = grid}, nullptr).code, kRefused.code);
    EXPECT_EQ(launch_unpatchify({.grid = grid}, nullptr).code, kRefused.code);
  }
  EXPECT_EQ(cuda.launches(), 0);
}

}  // namespace
}  // namespace praxino::kernels
