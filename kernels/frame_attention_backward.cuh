#pragma once
// What the kernels of the backward pass of attention over frames share.

#include "kernels/frame_attention_tiles.cuh"

namespace praxino::kernels::device {

/// The sums of grad * out over the head, of rows 0 .. valid - 1; 0 for the rest of `rows`. Goes to
/// shared memory and, if not null, to memory. All threads of the block come here.
template <int kWidth>
PRAXINO_DEVICE void find_deltas(float* shared, const Bf16* out, int64_t out_stride,
                                const Bf16* grad, int64_t grad_stride, int rows, int valid,
                                float* memory, Site site = PRAXINO_HERE) {
  constexpr int kLanes = kWidth / kPiece;
  const int column = thread_index() % kLanes * kPiece, step = block_threads() / kLanes;
  PRAXINO_NO_UNROLL
  for (int first = 0; first < rows; first += step) {
    const int row = first + thread_index() / kLanes;
    float sum = 0;
    if (row < valid) {
      const Vector<kPiece> o = load_vector<kPiece>(out + row * out_stride + column, site);
      const Vector<kPiece> g = load_vector<kPiece>(grad + row * grad_stride + column, site);
      PRAXINO_UNROLL
      for (int i = 0; i < kPiece; ++i) sum += o.v[i] * g.v[i];
    }
    sum = group_sum(sum, kLanes, site);
    if (column != 0 || row >= rows) continue;
    store(shared + row, sum, site);
    if (memory != nullptr && row < valid) store(memory + row, sum, site);
  }
}

/// Logarithms of the sums of rows, to base 2; where there is no row, or one that sees nothing, such
/// that all its weights are 0.
template <int kRows>
PRAXINO_DEVICE void load_sums(float* shared, const float* lse, int valid,
                              Site site = PRAXINO_HERE) {
  for (int row = thread_index(); row < kRows; row += block_threads()) {
    const float sum = row < valid ? load(lse + row, site) : kMinusInfinity;
    store(shared + row, sum == kMinusInfinity ? -kMinusInfinity : sum * kLog2E, site);
  }
}

/// What a row of normalised and rotated heads came from: x, its place, and where its gradient goes.
struct RowsBehind {
  const Bf16* x;
  int64_t x_stride;
  Bf16* grad_x;
  int64_t grad_stride;
  Rotation by;
};

/// Adds the values of the warp's lanes that are `kLanes` apart to *sum, which belongs to the first
/// of them.
template <int kLanes>
PRAXINO_DEVICE void add_over_rows(float* sum, float value, Site site) {
  PRAXINO_UNROLL
  for (int distance = kLanes; distance < kWarp; distance *= 2)
    value += shuffle_xor(value, distance, kFullWarp, site);
  if (lane_index() < kLanes) store(sum, load(sum, site) + value, site);
}

/// Rows 0 .. valid - 1 of a tile hold gradients of normalised and rotated rows: writes those of the
/// rows as they were. Adds, a warp for itself, the gradient of the gain to sums[warp][kWidth]. All
/// threads of the block come here, behind a barrier.
template <int kRows, int kWidth, int kThreads>
PRAXINO_DEVICE void norm_rotate_tile_backward(const Bf16* tile, int valid, const RowsBehind& rows,
                                              float* sums, Site site = PRAXINO_HERE) {
  constexpr int kLanes = rotation_lanes(kWidth), kStep = kThreads / kLanes, kHalf = kWidth / 2;
  const int column = thread_index() % kLanes * kPiece;
  float* own = sums + warp_index() * kWidth + column;
  PRAXINO_NO_UNROLL
  for (int first = 0; first < kRows; first += kStep) {
    const int row = first + thread_index() / kLanes;
    HalfRows x = {}, g = {};
    if (row < valid) {
      const Bf16* from = rows.x + row * rows.x_stride + column;
      x = {load_vector<kPiece>(from, site), load_vector<kPiece>(from + kHalf, site)};
      g = {load_vector<kPiece>(tile + tile_offset(row, column, kWidth), site),
           load_vector<kPiece>(tile + tile_offset(row, column + kHalf, kWidth), site)};
      const int64_t angle = int64_t{row} * rows.by.stride + column;
      g = rotated_back(g, load_vector<kPiece>(rows.by.cos + angle, site),
                       load_vector<kPiece>(rows.by.sin + angle, site));
    }
    const float inverse = inverse_rms(group_sum(dot(x, x), kLanes, site), kWidth);
    PRAXINO_UNROLL
    for (int i = 0; i < kPiece; ++i) {
      x.first.v[i] *= inverse;
      x.second.v[i] *= inverse;
      add_over_rows<kLanes>(own + i, g.first.v[i] * x.first.v[i], site);
      add_over_rows<kLanes>(own + kHalf + i, g.second.v[i] * x.second.v[i], site);
    }
    scale_by(g, 1.0F, rows.by.gain + column, rows.by.gain + kHalf + column, site);
    const float projection = group_sum(dot(g, x), kLanes, site) / static_cast<float>(kWidth);
    if (row >= valid) continue;
    PRAXINO_UNROLL
    for (int i = 0; i < kPiece; ++i) {
      g.first.v[i] = inverse * (g.first.v[i] - x.first.v[i] * projection);
      g.second.v[i] = inverse * (g.second.v[i] - x.second.v[i] * projection);
    }
    Bf16* to = rows.grad_x + row * rows.grad_stride + column;
    store_vector(to, g.first, site);
    store_vector(to + kHalf, g.second, site);
  }
}

}  // namespace praxino::kernels::device
