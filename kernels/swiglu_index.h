#pragma once
// Where the elements of a gated pair lie: ab has rows of 2F = [a | b], y rows of F.

#include <cstdint>

#include "kernels/division.h"
#include "kernels/host_device.h"

namespace praxino::kernels {

/// Offsets in elements.
struct SwiGluSpot {
  int64_t a;
  int64_t b;
  int64_t y;
};

/// How many pieces of `vector` elements there are; `vector` divides `half`.
constexpr PRAXINO_HOST_DEVICE int64_t swiglu_pieces(int64_t rows, int64_t half, int vector) {
  return rows * (half / vector);
}

/// The first elements of a piece, counted along the rows of y. `pieces_of_row`: half / vector.
constexpr PRAXINO_HOST_DEVICE SwiGluSpot swiglu_spot(int64_t piece, const Divisor& pieces_of_row,
                                                     int vector) {
  const int64_t row = pieces_of_row.quotient(piece), half = pieces_of_row.by() * vector;
  const int64_t column = (piece - row * pieces_of_row.by()) * vector;
  return {row * 2 * half + column, row * 2 * half + half + column, row * half + column};
}

}  // namespace praxino::kernels
