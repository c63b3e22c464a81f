#include "kernels/head_tile.h"

#include <gtest/gtest.h>

#include <set>

#include "kernels/fragments.h"

namespace praxino::kernels {
namespace {

// The line of 16 bytes among those that one access of a bank each can serve together.
int banks_of(int row, int column, int columns) {
  return tile_offset(row, column, columns) / kPiece % 8;
}

TEST(HeadTile, PutsEveryElementInAPlaceOfItsOwn) {
  for (const int columns : {32, 64, 128}) {
    std::set<int> seen;
    for (int row = 0; row < 24; ++row) {
      for (int column = 0; column < columns; ++column) {
        const int at = tile_offset(row, column, columns);
        EXPECT_TRUE(at >= row * columns && at < (row + 1) * columns);
        EXPECT_EQ(at % kPiece, column % kPiece);
        seen.insert(at);
      }
    }
    EXPECT_EQ(static_cast<int>(seen.size()), 24 * columns);
  }
}

// Eight lanes at a time are served: the rows of an 8 x 8 matrix must lie in different banks.
TEST(HeadTile, MatricesMeetInNoBank) {
  for (const int columns : {32, 64, 128}) {
    for (const auto spot : {matrix_row_of_a, matrix_row_of_b}) {
      for (int row = 0; row < 32; row += 16) {
        for (int column = 0; column < columns; column += 16) {
          for (int matrix = 0; matrix < 4; ++matrix) {
            std::set<int> banks;
            for (int lane = 8 * matrix; lane < 8 * matrix + 8; ++lane)
              banks.insert(banks_of(row + spot(lane).row, column + spot(lane).column, columns));
            EXPECT_EQ(static_cast<int>(banks.size()), 8);
          }
        }
      }
    }
  }
}

// Neighbouring lanes copy neighbouring pieces of rows.
TEST(HeadTile, CopiesMeetInNoBank) {
  for (const int columns : {32, 64, 128}) {
    const int pieces = columns / kPiece;
    for (int first = 0; first < 16 * pieces; first += 8) {
      std::set<int> banks;
      for (int i = first; i < first + 8; ++i)
        banks.insert(banks_of(i / pieces, i % pieces * kPiece, columns));
      EXPECT_EQ(static_cast<int>(banks.size()), 8);
    }
  }
}

}  // namespace
}  // namespace praxino::kernels
