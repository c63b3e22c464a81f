#pragma once
// Which element of a matrix each lane of a warp holds, for the tensor core instructions of
// kernels/device/mma.cuh (PTX ISA, "Matrix Fragments for mma.m16n8k16" and "ldmatrix"), and which
// row each lane must point at so that loads fill such fragments. Two elements of bfloat16 share a
// word: element 2w is the lower half of word w. Pure, for host and device code.
//
// Two neighbouring C tiles of 16 x 8 have the layout of one A tile of 16 x 16: a product goes into
// the next one as A without leaving its lane.

#include "kernels/host_device.h"

namespace praxino::kernels {

struct FragmentSpot {
  int row;
  int column;
};

/// A: 16 rows x 16 of the contraction; elements 0..7 of a lane.
constexpr PRAXINO_HOST_DEVICE FragmentSpot fragment_a(int lane, int element) {
  const int word = element / 2;
  return {lane / 4 + 8 * (word % 2), 2 * (lane % 4) + element % 2 + 8 * (word / 2)};
}

/// B: 16 of the contraction x 8 columns; elements 0..3.
constexpr PRAXINO_HOST_DEVICE FragmentSpot fragment_b(int lane, int element) {
  return {2 * (lane % 4) + element % 2 + 8 * (element / 2), lane / 4};
}

/// C, and the result: 16 x 8 floats; elements 0..3.
constexpr PRAXINO_HOST_DEVICE FragmentSpot fragment_c(int lane, int element) {
  return {lane / 4 + 8 * (element / 2), 2 * (lane % 4) + element % 2};
}

/// A matrix of 8 x 8 as load_matrices() hands it out: elements 0 and 1 of a lane.
constexpr PRAXINO_HOST_DEVICE FragmentSpot fragment_8x8(int lane, int element) {
  return {lane / 4, 2 * (lane % 4) + element};
}

// Where each lane points for load_matrices<4>(): the first of 8 elements in a tile of shared memory
// of 16 x 16. What the four words of the lane then are, follows.

/// Tile rows are rows of A: the words of one A. Transposed: tile rows are the contraction of B, its
/// columns those of two Bs: words 0, 1 and words 2, 3.
constexpr PRAXINO_HOST_DEVICE FragmentSpot matrix_row_of_a(int lane) {
  return {lane % 16, lane / 16 * 8};
}

/// Tile rows are columns of B, the contraction runs along them: words 0, 1 are the B of rows 0..7,
/// words 2, 3 the one of rows 8..15. Transposed: tile rows are the contraction of A, tile columns
/// its rows: the words of one A.
constexpr PRAXINO_HOST_DEVICE FragmentSpot matrix_row_of_b(int lane) {
  return {lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8};
}

}  // namespace praxino::kernels
