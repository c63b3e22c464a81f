// The kernel itself, executed on the CPU, against the operation's formula.
#include "kernels/patchify_yuv.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "kernels/numbers.h"
#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels {
namespace {

using praxino::testing::CudaOnCpu;
using testing::Doubles;
using testing::exact;
using testing::kElementOf;

// BT.601, limited range.
constexpr YuvToRgb kColor{16.0F, 255.0F / 219, 1.5960267F, -0.39176229F, -0.81296764F, 2.0172321F};

struct Case {
  PatchGrid grid;
  int64_t padding = 0;  // bytes behind each row, as a decoder leaves them
  size_t skew_luma = 0, skew_chroma = 0, skew_tokens = 0;
};

struct Planes {
  std::vector<uint8_t> y, u, v;
  PlaneStrides luma, chroma;
};

PlaneStrides strides_of(int64_t height, int64_t width, const Case& c) {
  const int64_t row = width + c.padding;
  return {c.grid.time * height * row, height * row, row};
}

std::vector<uint8_t> samples(const PlaneStrides& strides, int64_t batch, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> values(static_cast<size_t>(batch * strides.batch));
  for (uint8_t& value : values) value = static_cast<uint8_t>(random());
  return values;
}

Planes planes_of(const Case& c) {
  const PlaneStrides luma = strides_of(c.grid.height(), c.grid.width(), c);
  const PlaneStrides chroma =
      strides_of(chroma_samples(c.grid.height()), chroma_samples(c.grid.width()), c);
  return {samples(luma, c.grid.batch, 1), samples(chroma, c.grid.batch, 2),
          samples(chroma, c.grid.batch, 3), luma, chroma};
}

// Chroma at a pixel, in double, by distances between the middles.
double chroma_at(const uint8_t* plane, const PlaneStrides& strides, const PatchGrid& grid,
                 int64_t y, int64_t x) {
  double sum = 0;
  const auto weight = [](int64_t pixel, int64_t sample) {
    return std::max(
        0.0, 1 - std::fabs((static_cast<double>(pixel) - 0.5) / 2 - static_cast<double>(sample)));
  };
  for (int64_t i = y / 2 - 1; i <= y / 2 + 1; ++i) {
    for (int64_t j = x / 2 - 1; j <= x / 2 + 1; ++j) {
      const int64_t row = std::clamp<int64_t>(i, 0, chroma_samples(grid.height()) - 1);
      const int64_t column = std::clamp<int64_t>(j, 0, chroma_samples(grid.width()) - 1);
      sum += weight(y, i) * weight(x, j) * static_cast<double>(plane[row * strides.row + column]);
    }
  }
  return sum - 128;
}

// Levels before rounding, in the order of tokens.
Doubles levels_of(const Planes& planes, const Case& c) {
  const PatchGrid& g = c.grid;
  Doubles levels;
  const YuvToRgb& m = kColor;
  for (int64_t frame = 0; frame < g.frames(); ++frame) {
    const int64_t clip = frame / g.time, t = frame % g.time;
    const uint8_t* luma = planes.y.data() + clip * planes.luma.batch + t * planes.luma.time;
    const int64_t at = clip * planes.chroma.batch + t * planes.chroma.time;
    for (int64_t place = 0; place < g.rows * g.columns; ++place) {
      for (int channel = 0; channel < 3; ++channel) {
        for (int64_t i = 0; i < g.patch * g.patch; ++i) {
          const int64_t y = place / g.columns * g.patch + i / g.patch;
          const int64_t x = place % g.columns * g.patch + i % g.patch;
          const double l =
              (static_cast<double>(luma[y * planes.luma.row + x]) - double{m.luma_offset}) *
              double{m.luma_scale};
          const double u = chroma_at(planes.u.data() + at, planes.chroma, g, y, x);
          const double v = chroma_at(planes.v.data() + at, planes.chroma, g, y, x);
          const double rgb[3] = {l + double{m.red_v} * v,
                                 l + double{m.green_u} * u + double{m.green_v} * v,
                                 l + double{m.blue_u} * u};
          levels.push_back(std::clamp(rgb[channel], 0.0, 255.0));
        }
      }
    }
  }
  return levels;
}

template <class T>
Doubles tokens_of(const Planes& planes, const Case& c, uint64_t seed) {
  CudaOnCpu cuda({.seed = seed, .multiprocessors = static_cast<int>(seed)});
  const auto count = static_cast<size_t>(c.grid.elements());
  T* tokens = cuda.allocate<T>(count, "tokens", c.skew_tokens);
  const Status status = launch_patchify_yuv({.y = cuda.upload(planes.y, "y", c.skew_luma),
                                             .u = cuda.upload(planes.u, "u", c.skew_chroma),
                                             .v = cuda.upload(planes.v, "v"),
                                             .tokens = tokens,
                                             .grid = c.grid,
                                             .luma = planes.luma,
                                             .chroma = planes.chroma,
                                             .color = kColor,
                                             .element = kElementOf<T>},
                                            nullptr);
  EXPECT_TRUE(status.ok());
  return exact(cuda.download(tokens, count));
}

// A token is exactly that of a level, and the level is the nearest, up to the rounding of float.
template <class T>
void expect_equals_formula(const Case& c) {
  const Planes planes = planes_of(c);
  const Doubles tokens = tokens_of<T>(planes, c, 1), levels = levels_of(planes, c);
  ASSERT_EQ(tokens.size(), levels.size());
  size_t wrong = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto level = static_cast<float>(std::round((tokens[i] + 1) * 127.5));
    const float scaled = level * static_cast<float>(2.0 / 255.0);
    const bool exact_token = tokens[i] == testing::as<T>(static_cast<double>(scaled - 1.0F));
    wrong += exact_token && std::fabs(static_cast<double>(level) - levels[i]) <= 0.5 + 1e-4 ? 0 : 1;
  }
  EXPECT_EQ(wrong, 0U);
}

class PatchifyYuvKernel : public ::testing::TestWithParam<Case> {};

TEST_P(PatchifyYuvKernel, EqualsItsFormulaInFloat) { expect_equals_formula<float>(GetParam()); }
TEST_P(PatchifyYuvKernel, EqualsItsFormulaInBf16) { expect_equals_formula<Bf16>(GetParam()); }

// Odd sizes and patches, whose chroma windows begin inside a sample; rows with padding; several
// strips; each pointer unaligned by itself.
INSTANTIATE_TEST_SUITE_P(Cases, PatchifyYuvKernel,
                         ::testing::Values(Case{{1, 1, 1, 1, 3, 1}}, Case{{1, 1, 1, 1, 3, 2}},
                                           Case{{1, 2, 3, 5, 3, 1}, 2}, Case{{2, 2, 3, 3, 3, 3}, 1},
                                           Case{{1, 2, 3, 3, 3, 4}}, Case{{1, 4, 12, 1, 3, 4}},
                                           Case{{2, 2, 2, 3, 3, 8}, 7},
                                           Case{{1, 1, 3, 2, 3, 8}, 32}, Case{{1, 1, 1, 3, 3, 12}},
                                           Case{{1, 1, 2, 2, 3, 16}}, Case{{1, 1, 1, 70, 3, 16}},
                                           Case{{1, 1, 2, 2, 3, 8}, 0, 1},
                                           Case{{1, 1, 2, 2, 3, 8}, 0, 0, 3},
                                           Case{{1, 1, 2, 2, 3, 8}, 0, 0, 0, 1}));

TEST(PatchifyYuvKernels, GiveEqualBitsUnderEveryScheduleAndGrid) {
  const Case c{{1, 2, 3, 4, 3, 8}, 5};
  const Planes planes = planes_of(c);
  const Doubles first = tokens_of<Bf16>(planes, c, 1);
  for (uint64_t seed = 2; seed < 5; ++seed) EXPECT_EQ(tokens_of<Bf16>(planes, c, seed), first);
}

TEST(PatchifyYuvKernels, DoNotLaunchForAnEmptyBatchNorForWhatIsOutOfRange) {
  CudaOnCpu cuda;
  EXPECT_TRUE(launch_patchify_yuv({.grid = {0, 4, 2, 2, 3, 8}}, nullptr).ok());
  EXPECT_EQ(launch_patchify_yuv({.grid = {1, 4, 2, 2, 1, 8}}, nullptr).code, kRefused.code);
  EXPECT_EQ(launch_patchify_yuv({.grid = {1, 1, 1, 1, 3, 128}}, nullptr).code, kRefused.code);
  EXPECT_EQ(cuda.launches(), 0);
}

}  // namespace
}  // namespace praxino::kernels
