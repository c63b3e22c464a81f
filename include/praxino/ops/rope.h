#pragma once
// Rotary positions in time, height and width.

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace praxino::ops {

/// cos and sin of the angles of every position: S K/2 float32.
struct RopeTable {
  at::Tensor cos;
  at::Tensor sin;
};

/// How many of the K/2 pairs each axis (time, height, width) rotates.
using RopeSplit = std::array<int64_t, 3>;

/// All three axes, as Cosmos splits them: height and width floor(K/6) pairs each, time the rest.
RopeSplit rope_split_video(int64_t head_width);
/// Inside a frame: half of the pairs for height, the rest for width.
RopeSplit rope_split_space(int64_t head_width);
/// Along time alone.
RopeSplit rope_split_time(int64_t head_width);

/// positions: S 3 float32 (time, row, column; -1 is as good as any for a token without a place).
/// Pair i of n on an axis turns by position * base^(-i/n).
RopeTable rope_table(const at::Tensor& positions, const RopeSplit& split, double base);

/// Rotates x: R S H K by S K/2 float32 tables; same dtype, products and sums in float32. Halves:
/// (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin).
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);

namespace formula {
/// In operations of LibTorch, on any device.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);
}  // namespace formula

}  // namespace praxino::ops
