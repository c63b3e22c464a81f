#pragma once
// Sums over the rows that a block's teams worked on (kernels/frame_rows.h).

#include "kernels/device/raw_vectors.cuh"
#include "kernels/device/thread.cuh"
#include "kernels/frame_rows.h"

namespace praxino::kernels::device {

/// Adds what the block's teams hold of one sum, kept in registers by columns, and writes it. All
/// threads of the block come here. `scratch`: a row of shared memory for each team. kHalves: pieces
/// are halves (half_columns), else neighbours (row_column).
template <bool kHalves, int kPieces>
PRAXINO_DEVICE void reduce_teams(const Vector<kRowVector> (&part)[kPieces], int lanes, int width,
                                 float* scratch, float* to, Site site = PRAXINO_HERE) {
  const int team = thread_index() / lanes, lane = thread_index() % lanes;
  PRAXINO_UNROLL
  for (int piece = 0; piece < kPieces; ++piece) {
    if constexpr (kHalves) {
      store_halves(scratch + team * width, half_columns(lane, piece, lanes), width, part[piece],
                   site);
    } else {
      const int column = row_column(lane, piece, lanes);
      if (column < width) store_vector(scratch + team * width + column, part[piece], site);
    }
  }
  sync_block(site);
  for (int column = thread_index(); column < width; column += kRowThreads) {
    float sum = 0;
    for (int t = 0; t < kRowThreads / lanes; ++t) sum += load(scratch + t * width + column, site);
    store(to + column, sum, site);
  }
  sync_block(site);  // before the scratch is used again
}

}  // namespace praxino::kernels::device
