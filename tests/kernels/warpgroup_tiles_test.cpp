#include "kernels/warpgroup_tiles.h"

#include <gtest/gtest.h>

#include <set>

namespace praxino::kernels {
namespace {

TEST(WarpgroupTiles, TheSwizzleIsItsOwnInverseAndKeepsUnitsOf16Bytes) {
  std::set<uint32_t> places;
  for (uint32_t offset = 0; offset < 4 * kSwizzleBytes; ++offset) {
    EXPECT_EQ(swizzle_128(swizzle_128(offset)), offset);
    EXPECT_EQ(swizzle_128(offset) % 16, offset % 16);
    EXPECT_EQ(swizzle_128(offset) / kBoxBytes, offset / kBoxBytes);
    places.insert(swizzle_128(offset));
  }
  EXPECT_EQ(places.size(), size_t{4 * kSwizzleBytes});
}

TEST(WarpgroupTiles, EightRowsOfAColumnLieInAllBanks) {
  for (int column = 0; column < kBoxColumns; column += 8) {
    std::set<uint32_t> units;
    for (int row = 0; row < 8; ++row) units.insert(boxed_offset(row, column, 64) % kBoxBytes / 16);
    EXPECT_EQ(units.size(), 8U);
  }
}

// The example of the manual: thread 37 holds rows 17 and 25, columns 2, 3, 10, 11, ...
TEST(WarpgroupTiles, ThreadsShareAnAccumulator) {
  EXPECT_EQ(warpgroup_d(37, 0).row, 17);
  EXPECT_EQ(warpgroup_d(37, 0).column, 2);
  EXPECT_EQ(warpgroup_d(37, 1).column, 3);
  EXPECT_EQ(warpgroup_d(37, 2).row, 25);
  EXPECT_EQ(warpgroup_d(37, 4).column, 10);
  for (const int columns : {64, 128}) {
    std::set<int> places;
    for (int thread = 0; thread < kWarpgroup; ++thread) {
      for (int i = 0; i < columns / 2; ++i) {
        const FragmentSpot spot = warpgroup_d(thread, i);
        EXPECT_LT(spot.column, columns);
        places.insert(spot.row * columns + spot.column);
      }
    }
    EXPECT_EQ(places.size(), static_cast<size_t>(kTileRows * columns));
    EXPECT_EQ(*places.rbegin(), kTileRows * columns - 1);
  }
}

TEST(WarpgroupTiles, AnAccumulatorIsTheNextProductsAWithoutMoving) {
  for (int thread = 0; thread < kWarpgroup; ++thread) {
    for (int i = 0; i < 64; ++i) {
      const FragmentSpot d = warpgroup_d(thread, i), a = warpgroup_a(thread, i % 8);
      EXPECT_EQ(d.row, a.row);
      EXPECT_EQ(d.column, i / 8 * kTileDepth + a.column);
    }
  }
}

TEST(WarpgroupTiles, ADescriptorHoldsWhatItWasMadeOf) {
  for (const MatrixTile tile : {MatrixTile{0, 0, 1024}, MatrixTile{32, 16384, 1024},
                                MatrixTile{231424, 16, 8192}, MatrixTile{227 * 1024 - 16, 32, 0}}) {
    const MatrixTile same = decode_tile(encode_tile(tile));
    EXPECT_EQ(same.start, tile.start);
    EXPECT_EQ(same.leading, tile.leading);
    EXPECT_EQ(same.stride, tile.stride);
  }
  // Fields in units of 16 bytes: start 0..13, leading 16..29, stride 32..45; 62: the 128-byte
  // swizzle.
  EXPECT_EQ(encode_tile({0x400, 0x2000, 0x400}), 0x4000004002000040U);
  for (uint32_t bytes = 0; bytes < 0x3fc00; bytes += 16)
    ASSERT_EQ(further(encode_tile({0x400, 0x2000, 0x400}), bytes),
              encode_tile({0x400 + bytes, 0x2000, 0x400}));
}

// Every step of a contraction reads the elements that were stored for it.
TEST(WarpgroupTiles, OperandsAreReadWhereTheyWereStored) {
  constexpr uint32_t kStart = 3 * kSwizzleBytes;
  for (const int rows : {64, 128}) {
    for (const int columns : {64, 128}) {
      for (int step = 0; step < columns / kTileDepth; ++step) {
        for (int from = 0; from < rows; from += 64) {
          const MatrixTile tile = operand_tile(kStart, Major::kDepth, rows, from, step);
          EXPECT_LT(tile.start % kSwizzleBytes, uint32_t{kBoxBytes});
          for (int outer = 0; outer < 64; ++outer) {
            for (int k = 0; k < kTileDepth; ++k)
              EXPECT_EQ(operand_byte(tile, Major::kDepth, outer, k),
                        kStart + boxed_offset(from + outer, step * kTileDepth + k, rows));
          }
        }
      }
      for (int step = 0; step < rows / kTileDepth; ++step) {
        for (int from = 0; from < columns; from += 64) {
          const MatrixTile tile = operand_tile(kStart, Major::kOuter, rows, from, step);
          EXPECT_LT(tile.start % kSwizzleBytes, uint32_t{kBoxBytes});
          for (int outer = 0; outer < columns - from; ++outer) {
            for (int k = 0; k < kTileDepth; ++k)
              EXPECT_EQ(operand_byte(tile, Major::kOuter, outer, k),
                        kStart + boxed_offset(step * kTileDepth + k, from + outer, rows));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace praxino::kernels
