#pragma once
// Runs the probes (probes_hopper.h) and holds them against what they must give. `Gpu` is a class
// with upload(vector), allocate<T>(count) and download(pointer, count): the emulator, or a device.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "kernels/numbers.h"
#include "kernels/probes_hopper.h"
#include "kernels/warpgroup_tiles.h"

namespace praxino::kernels::testing {

/// Every form of the warpgroup product. Sums of 192 products of bfloat16 in float: the order is the
/// device's own, and it cuts off bits below 2^-23 of the largest term where the CPU rounds.
template <class Gpu>
void expect_products(Gpu& gpu, ProductProbe p) {
  const auto a = normal<Bf16>(kTileRows * p.depth, 1), b = normal<Bf16>(p.depth * p.columns, 2);
  const auto c = normal<float>(kTileRows * p.columns, 3);
  const auto count = c.size();
  p.a = gpu.upload(a);
  p.b = gpu.upload(b);
  p.c = gpu.upload(c);
  p.d = gpu.template allocate<float>(count);
  ASSERT_TRUE(launch_probe(p, nullptr).ok());
  Doubles want = exact(c);
  for (int i = 0; i < kTileRows; ++i) {
    for (int k = 0; k < p.depth; ++k) {
      const double factor = to_float(a[size_t(i * p.depth + k)]);
      for (int j = 0; j < p.columns; ++j)
        want[size_t(i * p.columns + j)] +=
            factor * static_cast<double>(to_float(b[size_t(k * p.columns + j)]));
    }
  }
  EXPECT_LE(distance(exact(gpu.download(p.d, count)), want), 1e-5 * largest(want))
      << p.columns << " columns, depth " << p.depth << ", a_outer " << p.a_outer << ", b_outer "
      << p.b_outer << ", a_in_registers " << p.a_in_registers;
}

template <class Gpu>
void expect_all_products(Gpu& gpu) {
  for (const int columns : {64, 128}) {
    for (const bool b_outer : {false, true}) {
      for (const bool a_outer : {false, true})
        expect_products(gpu,
                        {.columns = columns, .depth = 128, .a_outer = a_outer, .b_outer = b_outer});
      expect_products(
          gpu, {.columns = columns, .depth = 64, .b_outer = b_outer, .a_in_registers = true});
    }
  }
}

/// Tiles inside, across each edge, and outside of a tensor with gaps between its rows.
template <class Gpu>
void expect_tile(Gpu& gpu, TileProbe p) {
  int64_t elements = 1;
  int count = 1;
  for (int i = 0; i < p.dimensions; ++i) {
    p.strides[i] = i == 0 ? 1 : elements;
    elements = (elements * p.sizes[i] + 7) / 4 * 4;  // a gap, and multiples of 16 bytes
    count *= p.box[i];
  }
  std::vector<float> from(static_cast<size_t>(elements));
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i + 1);
  const std::vector<float> before(from.size(), -1);
  p.from = gpu.upload(from);
  p.to = gpu.template allocate<float>(from.size());
  p.list = gpu.template allocate<float>(static_cast<size_t>(count));
  gpu.fill(p.to, before);
  ASSERT_TRUE(launch_probe(p, nullptr).ok());
  std::vector<float> list(static_cast<size_t>(count), 0), to = before;
  // Where element `i` of a tile at `corner` lies in the tensor; -1 outside of it.
  const auto place = [&](int i, const int* corner) {
    int64_t at = 0;
    for (int d = 0, rest = i; d < p.dimensions; rest /= p.box[d++]) {
      const int64_t index = corner[d] + rest % p.box[d];
      if (index < 0 || index >= p.sizes[d]) return int64_t{-1};
      at += index * p.strides[d];
    }
    return at;
  };
  for (int i = 0; i < count; ++i) {
    float& element = list[static_cast<size_t>(i)];
    if (const int64_t at = place(i, p.corner); at >= 0) element = from[static_cast<size_t>(at)];
    if (const int64_t at = place(i, p.back); at >= 0) to[static_cast<size_t>(at)] = element + 1000;
  }
  EXPECT_EQ(gpu.download(p.list, list.size()), list) << p.dimensions << " dimensions";
  EXPECT_EQ(gpu.download(p.to, to.size()), to) << p.dimensions << " dimensions";
}

template <class Gpu>
void expect_all_tiles(Gpu& gpu) {
  for (int dimensions = 2; dimensions <= 5; ++dimensions) {
    // Inside, across the end, before the beginning, behind all; in elements of the first dimension.
    for (const int corner : {0, 4, -4, 12}) {
      TileProbe p{.dimensions = dimensions};
      for (int i = 0; i < dimensions; ++i) {
        p.sizes[i] = i == 0 ? 8 : 5 + i;
        p.box[i] = i == 0 ? 8 : 2 + i % 2;
        p.corner[i] = i == 0 ? corner : corner - i % 2;
        p.back[i] = std::max(p.corner[i], 0);
      }
      SCOPED_TRACE(std::to_string(dimensions) + " dimensions, corner " + std::to_string(corner));
      expect_tile(gpu, p);
    }
  }
}

template <class Gpu>
void expect_swizzle(Gpu& gpu) {
  constexpr int kRows = 24;
  std::vector<Bf16> from(size_t{kRows} * kBoxColumns);
  for (size_t i = 0; i < from.size(); ++i) from[i].bits = static_cast<uint16_t>(i);
  const SwizzleProbe p{gpu.upload(from), kRows, gpu.template allocate<uint32_t>(kRows * 32)};
  ASSERT_TRUE(launch_probe(p, nullptr).ok());
  const std::vector<uint32_t> list = gpu.download(p.list, kRows * 32);
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kBoxColumns; column += 2) {
      const auto first = static_cast<uint32_t>(row * kBoxColumns + column);
      EXPECT_EQ(list[boxed_offset(row, column, kRows) / 4], first | (first + 1) << 16)
          << "row " << row << " column " << column;
    }
  }
}

template <class Gpu>
void expect_ring(Gpu& gpu) {
  constexpr int kTiles = 9;
  const auto from = normal<float>(kTiles * 64, 5);
  const RingProbe p{gpu.upload(from), gpu.template allocate<float>(from.size()), kTiles};
  ASSERT_TRUE(launch_probe(p, nullptr).ok());
  EXPECT_EQ(gpu.download(p.to, from.size()), from);
}

template <class Gpu>
void expect_turns(Gpu& gpu) {
  const TurnsProbe p{gpu.template allocate<float>(10), 5};
  ASSERT_TRUE(launch_probe(p, nullptr).ok());
  EXPECT_EQ(gpu.download(p.list, 10), (std::vector<float>{1, 2, 1, 2, 1, 2, 1, 2, 1, 2}));
}

}  // namespace praxino::kernels::testing
