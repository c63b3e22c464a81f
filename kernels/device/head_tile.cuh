#pragma once
// Tiles of shared memory with heads as rows (kernels/head_tile.h): how they are filled, normalised
// and rotated in place, and read as operands of the tensor cores.

#include "kernels/device/copy_async.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/device/warp.cuh"
#include "kernels/fragments.h"
#include "kernels/head_tile.h"

namespace praxino::kernels::device {

/// Begins to copy rows 0 .. kRows - 1; rows from `valid` on become zeros. All threads of the block
/// come here; the copies belong to the group that is committed next.
template <int kRows, int kColumns, int kThreads>
PRAXINO_DEVICE void copy_tile(Bf16* tile, const Bf16* rows, int64_t stride, int valid,
                              Site site = PRAXINO_HERE) {
  constexpr int kPieces = kColumns / kPiece, kAll = kRows * kPieces;
  PRAXINO_NO_UNROLL  // addresses of 64 bits each
      for (int first = 0; first < kAll; first += kThreads) {
    const int i = first + thread_index();
    if (kAll % kThreads != 0 && i >= kAll) break;
    const int row = i / kPieces, column = i % kPieces * kPiece;
    copy_16_async_or_zero(tile + tile_offset(row, column, kColumns), rows + row * stride + column,
                          row < valid, site);
  }
}

/// A: rows row .. row + 15, the contraction along column .. column + 15.
template <int kColumns>
PRAXINO_DEVICE FragmentA operand_a(const Bf16* tile, int row, int column,
                                   Site site = PRAXINO_HERE) {
  const FragmentSpot spot = matrix_row_of_a(lane_index());
  return load_matrices<4>(tile + tile_offset(row + spot.row, column + spot.column, kColumns), site);
}

/// A: rows are the tile's columns column .. column + 15, the contraction its rows.
template <int kColumns>
PRAXINO_DEVICE FragmentA operand_a_transposed(const Bf16* tile, int row, int column,
                                              Site site = PRAXINO_HERE) {
  const FragmentSpot spot = matrix_row_of_b(lane_index());
  return load_matrices<4, true>(tile + tile_offset(row + spot.row, column + spot.column, kColumns),
                                site);
}

/// Two Bs side by side.
struct OperandB {
  FragmentB b[2];
};
PRAXINO_DEVICE OperandB operand_of(const Pairs<4>& words) {
  return {{{{words.word[0], words.word[1]}}, {{words.word[2], words.word[3]}}}};
}

/// B: its 16 columns are rows row .. row + 15, the contraction runs along column .. column + 15.
template <int kColumns>
PRAXINO_DEVICE OperandB operand_b(const Bf16* tile, int row, int column, Site site = PRAXINO_HERE) {
  const FragmentSpot spot = matrix_row_of_b(lane_index());
  return operand_of(
      load_matrices<4>(tile + tile_offset(row + spot.row, column + spot.column, kColumns), site));
}

/// B: the contraction is rows row .. row + 15, its 16 columns are column .. column + 15.
template <int kColumns>
PRAXINO_DEVICE OperandB operand_b_transposed(const Bf16* tile, int row, int column,
                                             Site site = PRAXINO_HERE) {
  const FragmentSpot spot = matrix_row_of_a(lane_index());
  return operand_of(load_matrices<4, true>(
      tile + tile_offset(row + spot.row, column + spot.column, kColumns), site));
}

/// Two results side by side, rounded, are the A of the next product.
PRAXINO_DEVICE FragmentA as_operand(const FragmentC& left, const FragmentC& right) {
  return {{pack_bf16(left.v[0], left.v[1]), pack_bf16(left.v[2], left.v[3]),
           pack_bf16(right.v[0], right.v[1]), pack_bf16(right.v[2], right.v[3])}};
}

/// The rounded result as rows row .. row + 15, columns column .. column + 7 of a tile.
template <int kColumns>
PRAXINO_DEVICE void store_result(Bf16* tile, int row, int column, const FragmentC& c,
                                 Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int i = 0; i < 4; i += 2) {
    const FragmentSpot spot = fragment_c(lane_index(), i);
    Bf16* to = tile + tile_offset(row + spot.row, column + spot.column, kColumns);
    store_raw(reinterpret_cast<uint32_t*>(to), pack_bf16(c.v[i], c.v[i + 1]), site);
  }
}

/// The same for two results that are one operand: columns column .. column + 15.
template <int kColumns>
PRAXINO_DEVICE void store_operand(Bf16* tile, int row, int column, const FragmentA& a,
                                  Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int word = 0; word < 4; ++word) {
    const FragmentSpot spot = fragment_a(lane_index(), 2 * word);
    Bf16* to = tile + tile_offset(row + spot.row, column + spot.column, kColumns);
    store_raw(reinterpret_cast<uint32_t*>(to), a.word[word], site);
  }
}

/// One of two tables of a rotation.
struct Rotation {
  const float* gain;  // kWidth
  const float* cos;   // a row a position, `stride` elements apart
  const float* sin;
  int stride;
};

/// The pieces of a row that a lane holds (rotation_lanes), before the rotation.
struct HalfRows {
  Vector<kPiece> first, second;
};
PRAXINO_DEVICE HalfRows rotated(const HalfRows& x, const Vector<kPiece>& c,
                                const Vector<kPiece>& s) {
  HalfRows y;
  PRAXINO_UNROLL
  for (int i = 0; i < kPiece; ++i) {
    y.first.v[i] = x.first.v[i] * c.v[i] - x.second.v[i] * s.v[i];
    y.second.v[i] = x.second.v[i] * c.v[i] + x.first.v[i] * s.v[i];
  }
  return y;
}
/// The rotation back, which is also that of gradients.
PRAXINO_DEVICE HalfRows rotated_back(const HalfRows& y, const Vector<kPiece>& c,
                                     const Vector<kPiece>& s) {
  HalfRows x;
  PRAXINO_UNROLL
  for (int i = 0; i < kPiece; ++i) {
    x.first.v[i] = y.first.v[i] * c.v[i] + y.second.v[i] * s.v[i];
    x.second.v[i] = y.second.v[i] * c.v[i] - y.first.v[i] * s.v[i];
  }
  return x;
}
PRAXINO_DEVICE float dot(const HalfRows& a, const HalfRows& b) {
  float sum = 0;
  PRAXINO_UNROLL
  for (int i = 0; i < kPiece; ++i)
    sum += a.first.v[i] * b.first.v[i] + a.second.v[i] * b.second.v[i];
  return sum;
}

/// x times `factor` and the gains of its elements.
PRAXINO_DEVICE void scale_by(HalfRows& x, float factor, const float* first, const float* second,
                             Site site = PRAXINO_HERE) {
  const Vector<kPiece> gain1 = load_vector<kPiece>(first, site);
  PRAXINO_UNROLL
  for (int i = 0; i < kPiece; ++i) x.first.v[i] *= factor * gain1.v[i];
  const Vector<kPiece> gain2 = load_vector<kPiece>(second, site);
  PRAXINO_UNROLL
  for (int i = 0; i < kPiece; ++i) x.second.v[i] *= factor * gain2.v[i];
}

/// Rows 0 .. kRows - 1 of the tile, normalised and rotated in place; those from `valid` on are not
/// touched. All threads of the block come here, after a barrier behind what filled the tile, and
/// meet another barrier before they read it. The tables begin at the position of row 0.
template <int kRows, int kWidth, int kThreads>
PRAXINO_DEVICE void norm_rotate_tile(Bf16* tile, int valid, const Rotation& by,
                                     Site site = PRAXINO_HERE) {
  constexpr int kLanes = rotation_lanes(kWidth), kStep = kThreads / kLanes;
  const int column = thread_index() % kLanes * kPiece;
  PRAXINO_NO_UNROLL
  for (int first = 0; first < kRows; first += kStep) {
    const int row = first + thread_index() / kLanes;
    Bf16* left = tile + tile_offset(row, column, kWidth);
    Bf16* right = tile + tile_offset(row, column + kWidth / 2, kWidth);
    HalfRows x = {};
    if (row < valid) x = {load_vector<kPiece>(left, site), load_vector<kPiece>(right, site)};
    const float inverse = inverse_rms(group_sum(dot(x, x), kLanes, site), kWidth);
    if (row >= valid) continue;
    scale_by(x, inverse, by.gain + column, by.gain + kWidth / 2 + column, site);
    const int64_t angle = int64_t{row} * by.stride + column;
    const HalfRows y = rotated(x, load_vector<kPiece>(by.cos + angle, site),
                               load_vector<kPiece>(by.sin + angle, site));
    store_vector(left, y.first, site);
    store_vector(right, y.second, site);
  }
}

}  // namespace praxino::kernels::device
