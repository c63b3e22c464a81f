#include "kernels/yuv_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace praxino::kernels {
namespace {

// By the places of pixels and samples on a line: pixel i at i + 1/2, sample j at 2j + 1.
TEST(YuvGrid, ATapIsTheLineBetweenTheTwoNearestSamples) {
  for (int64_t pixels = 1; pixels < 40; ++pixels) {
    const int64_t samples = chroma_samples(pixels);
    for (int64_t i = 0; i < pixels; ++i) {
      const ChromaTap tap = chroma_tap(i, samples);
      const double place = (static_cast<double>(i) + 0.5 - 1) / 2;  // in samples
      const double below = std::floor(place);
      const auto inside = [&](double at) {
        return std::clamp<int64_t>(static_cast<int64_t>(at), 0, samples - 1);
      };
      EXPECT_EQ(tap.first, inside(below));
      EXPECT_EQ(tap.second, inside(below + 1));
      EXPECT_EQ(tap.weight, 4 * (place - below));
    }
  }
}

TEST(YuvGrid, ASpanHoldsWhatItsPixelsNeedAndNoMore) {
  for (int64_t pixels = 1; pixels < 24; ++pixels) {
    const int64_t samples = chroma_samples(pixels);
    for (int64_t begin = 0; begin < pixels; ++begin) {
      for (int64_t end = begin + 1; end <= pixels; ++end) {
        int64_t first = samples, last = 0;
        for (int64_t i = begin; i < end; ++i) {
          first = std::min(first, chroma_tap(i, samples).first);
          last = std::max(last, chroma_tap(i, samples).second);
        }
        const ChromaSpan span = chroma_span(begin, end, samples);
        EXPECT_EQ(span.begin, first);
        EXPECT_EQ(span.end, last + 1);
        EXPECT_LE(span.end - span.begin, most_samples(end - begin));
      }
    }
  }
}

TEST(YuvGrid, NeedsLessSharedMemoryThanThreePlanes) {
  for (int64_t patch = 1; patch <= 113; ++patch) {
    const PatchGrid grid{1, 1, 1, 20, 3, patch};
    ASSERT_TRUE(in_range(grid));
    EXPECT_LE(yuv_strip_bytes(grid, yuv_strip_columns(grid)), kMaxStripBytes);
  }
}

}  // namespace
}  // namespace praxino::kernels
