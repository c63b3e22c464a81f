#pragma once
// Tiles of shared memory whose rows are heads (or other runs of bfloat16), stored so that neither
// rows of 16 bytes nor the 8 x 8 matrices that the tensor cores load meet in a bank: the 16-byte
// pieces of a row change places by the row's number. Pure, for host and device code.

#include <cstdint>

#include "kernels/host_device.h"

namespace praxino::kernels {

inline constexpr int kPiece = 8;  // elements of 16 bytes

/// Where element `column` of row `row` lies, in elements from the tile's begin. Rows have `columns`
/// elements: 32, 64 or a multiple of 64. Neighbours within a piece stay neighbours.
constexpr PRAXINO_HOST_DEVICE int tile_offset(int row, int column, int columns) {
  // Eight pieces fill the banks once: rows of four pieces share a line of banks in pairs. Bits, not
  // quotients: row and column are not negative, which compilers cannot know.
  const int turn = columns == 32 ? row >> 1 & 3 : row & 7;
  return row * columns + (((column >> 3) ^ turn) << 3) + (column & 7);
}

/// The lanes that normalise and rotate a row together; lane l holds the pieces l and l + lanes,
/// whose elements rotate with each other.
constexpr PRAXINO_HOST_DEVICE int rotation_lanes(int width) { return width / (2 * kPiece); }

}  // namespace praxino::kernels
