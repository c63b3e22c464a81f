#include "kernels/patch_grid.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace praxino::kernels {
namespace {

// Element by element from the definition: token (row, column) holds channel, y, x.
TEST(PatchGrid, StripsCoverEveryPixelOnceInTheOrderOfTokens) {
  for (const PatchGrid grid :
       {PatchGrid{1, 1, 1, 1, 1, 1}, PatchGrid{2, 3, 2, 5, 3, 4}, PatchGrid{1, 2, 3, 7, 2, 3}}) {
    const PictureStrides strides = contiguous_strides(grid);
    for (int64_t columns = 1; columns <= grid.columns; ++columns) {
      const StripDivisors by = strip_divisors(grid, columns);
      int64_t next = 0;
      for (int64_t number = 0; number < all_strips(grid, columns); ++number) {
        const Strip strip = strip_at(number, grid, columns, by);
        ASSERT_EQ(first_of_tokens(strip, grid), next);
        const int64_t pixels = first_of_pixels(strip, grid, strides);
        for (int64_t e = 0; e < strip.columns * grid.token(); ++e, ++next) {
          const StripPixel at =
              strip_pixel(static_cast<uint32_t>(e), by.patch, SmallDivisor(grid.token()));
          const int64_t token = next / grid.token(), inside = next % grid.token();
          const int64_t area = grid.patch * grid.patch, place = token % (grid.rows * grid.columns);
          const int64_t frame = token / (grid.rows * grid.columns), channel = inside / area;
          const int64_t y = place / grid.columns * grid.patch + inside % area / grid.patch;
          const int64_t x = place % grid.columns * grid.patch + inside % grid.patch;
          const int64_t want =
              ((frame * grid.channels + channel) * grid.height() + y) * grid.width() + x;
          ASSERT_EQ(pixels + offset_of_run(at.run, by.patch, strides) + at.x, want);
          ASSERT_EQ(phase_of_run(at.run, by.patch, strides),
                    offset_of_run(at.run, by.patch, strides) % 16);
        }
      }
      ASSERT_EQ(next, grid.elements());
    }
  }
}

TEST(PatchGrid, APitchHoldsARunAtAnyPhaseAndSpreadsEightRunsOverAllBanks) {
  for (int64_t bytes = 1; bytes < 700; ++bytes) {
    const int64_t pitch = strip_pitch(bytes);
    EXPECT_GE(pitch, bytes + 15);
    EXPECT_LE(pitch, bytes + 15 + 15 + 16);
    EXPECT_EQ(pitch % kUnit, 0);
    std::set<int64_t> banks;  // groups of four
    for (int64_t run = 0; run < 8; ++run) banks.insert(run * pitch / kUnit % 8);
    EXPECT_EQ(banks.size(), 8U);
  }
}

TEST(PatchGrid, StripsAreAsLongAsSharedMemoryAllowsAndEven) {
  for (const int64_t patch : {1, 2, 3, 4, 8, 14, 16, 32, 64, 100}) {
    for (const int64_t columns : {1, 2, 3, 7, 16, 45, 80, 400}) {
      const PatchGrid grid{1, 1, 1, columns, 3, patch};
      ASSERT_TRUE(in_range(grid));
      const int64_t taken = strip_columns(grid), strips = (columns + taken - 1) / taken;
      EXPECT_GE(taken, 1);
      EXPECT_LE(taken, columns);
      EXPECT_LE(strip_bytes(grid, taken), taken > 1 ? kStripBytes : kMaxStripBytes);
      // One strip fewer would not fit.
      if (strips > 1) {
        const int64_t longer = (columns + strips - 2) / (strips - 1);
        EXPECT_GT(strip_bytes(grid, longer), kStripBytes);
      }
      EXPECT_LT(taken * strips - columns, strips);
    }
  }
}

TEST(PatchGrid, RefusesWhatCannotBeCountedOrHeld) {
  EXPECT_TRUE(in_range(PatchGrid{0, 5, 4, 4, 3, 8}));
  EXPECT_TRUE(in_range(PatchGrid{1, 1, 1, 1, 3, 113}));
  EXPECT_FALSE(in_range(PatchGrid{1, 1, 1, 1, 3, 128}));
  EXPECT_FALSE(in_range(PatchGrid{-1, 5, 4, 4, 3, 8}));
  EXPECT_FALSE(in_range(PatchGrid{1, 5, 4, 4, 0, 8}));
  EXPECT_FALSE(in_range(PatchGrid{1, 5, 4, 4, 3, 0}));
  EXPECT_FALSE(in_range(PatchGrid{1 << 24, 1 << 24, 64, 64, 3, 8}));
  EXPECT_FALSE(in_range(PatchGrid{INT64_MAX, 1, 1, 1, 1, 1}));
}

TEST(PatchGrid, RunsDivideThePatch) {
  EXPECT_EQ(run_of_patch(16, 8), 8);
  EXPECT_EQ(run_of_patch(12, 8), 4);
  EXPECT_EQ(run_of_patch(12, 4), 4);
  EXPECT_EQ(run_of_patch(14, 8), 1);
  EXPECT_EQ(run_of_patch(14, 4), 1);
}

TEST(PatchGrid, ReachesBeyondWhatThirtyTwoBitsHold) {
  const PatchGrid grid{4096, 64, 32, 32, 3, 8};
  ASSERT_TRUE(in_range(grid));
  const Strip last = strip_at(all_strips(grid, 32) - 1, grid, 32, strip_divisors(grid, 32));
  EXPECT_EQ(first_of_tokens(last, grid), grid.elements() - 32 * grid.token());
  EXPECT_EQ(first_of_pixels(last, grid, contiguous_strides(grid)),
            grid.elements() - 2 * grid.height() * grid.width() - 8 * grid.width());
}

}  // namespace
}  // namespace praxino::kernels
