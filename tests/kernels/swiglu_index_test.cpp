#include "kernels/swiglu_index.h"

#include <gtest/gtest.h>

namespace praxino::kernels {
namespace {

TEST(SwiGluIndex, PiecesTileTheRowsInOrder) {
  for (const int vector : {1, 4, 8}) {
    for (int64_t half = vector; half <= 5 * vector; half += vector) {
      const int64_t rows = 7;
      int64_t piece = 0;
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t column = 0; column < half; column += vector, ++piece) {
          const SwiGluSpot at = swiglu_spot(piece, Divisor(half / vector), vector);
          EXPECT_EQ(at.y, row * half + column);
          EXPECT_EQ(at.a, row * 2 * half + column);
          EXPECT_EQ(at.b, row * 2 * half + half + column);
        }
      }
      EXPECT_EQ(swiglu_pieces(rows, half, vector), piece);
    }
  }
}

TEST(SwiGluIndex, ReachesBeyondWhatThirtyTwoBitsHold) {
  const int64_t half = 4096, rows = int64_t{1} << 24;
  const int64_t last = swiglu_pieces(rows, half, 8) - 1;
  EXPECT_EQ(swiglu_spot(last, Divisor(half / 8), 8).y, rows * half - 8);
  EXPECT_EQ(swiglu_spot(last, Divisor(half / 8), 8).b, rows * 2 * half - 8);
}

}  // namespace
}  // namespace praxino::kernels
