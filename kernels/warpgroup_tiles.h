#pragma once
// Where matrix elements lie for the warpgroup instructions of kernels/device/wgmma.cuh: in the
// registers of 128 threads, and in shared memory behind a descriptor (PTX ISA, "Asynchronous
// warpgroup-level matrix instructions"). Shared tiles are stored in rows of 128 bytes with the
// 128-byte swizzle, as a copy of tiles (kernels/device/tile_map.cuh) writes them: 64 elements of
// 16 bits a row. Pure, for host and device code.

#include <cstdint>

#include "kernels/fragments.h"
#include "kernels/host_device.h"

namespace praxino::kernels {

inline constexpr int kWarpgroup = 128;  // threads
inline constexpr int kTileRows = 64;    // of every warpgroup product
inline constexpr int kTileDepth = 16;   // of its contraction, in bfloat16
inline constexpr int kBoxBytes = 128;   // of a row of a swizzled tile
inline constexpr int kBoxColumns = kBoxBytes / 2;
inline constexpr int kSwizzleBytes = 1024;  // the pattern repeats: swizzled tiles begin at such

/// Where byte `offset` of a swizzled tile lies: its 16-byte unit changes places with the number of
/// its 128-byte row. An involution. Offsets count from an address aligned to kSwizzleBytes.
constexpr PRAXINO_HOST_DEVICE uint32_t swizzle_128(uint32_t offset) {
  return offset ^ (offset >> 3 & 0x70U);
}

/// Byte of element (row, column) in a tile of `rows` rows of any number of columns, stored as boxes
/// of 64 columns one behind the other.
constexpr PRAXINO_HOST_DEVICE uint32_t boxed_offset(int row, int column, int rows) {
  const int box = column / kBoxColumns, inner = column % kBoxColumns;
  return static_cast<uint32_t>(box * rows * kBoxBytes) +
         swizzle_128(static_cast<uint32_t>(row * kBoxBytes + 2 * inner));
}

/// D, 64 x N floats: element `number` of N/2 of a thread of the warpgroup.
constexpr PRAXINO_HOST_DEVICE FragmentSpot warpgroup_d(int thread, int number) {
  return {16 * (thread / 32) + thread % 32 / 4 + 8 * (number / 2 % 2),
          8 * (number / 4) + 2 * (thread % 4) + number % 2};
}

/// A in registers, 64 x 16: element `number` of 8. Elements 8j .. 8j + 7 of D are those of A for
/// columns 16j .. 16j + 15: a product goes into the next one without leaving its thread.
constexpr PRAXINO_HOST_DEVICE FragmentSpot warpgroup_a(int thread, int number) {
  const FragmentSpot in_warp = fragment_a(thread % 32, number);
  return {16 * (thread / 32) + in_warp.row, in_warp.column};
}

/// The order in which a matrix lies in shared memory: its rows of 128 bytes run along the
/// contraction (kDepth), or along the other dimension, the rows of A or columns of B (kOuter).
enum class Major { kDepth, kOuter };

/// A matrix descriptor. `start` and strides in bytes, multiples of 16; start counts from the
/// beginning of the shared memory window and lies below 256 KiB.
struct MatrixTile {
  uint32_t start = 0;
  uint32_t leading = 0;  // kOuter: from a box of 64 outer elements to the next; kDepth: not used
  uint32_t stride = kSwizzleBytes;  // from 8 rows to the next 8
};

constexpr PRAXINO_HOST_DEVICE uint64_t encode_tile(const MatrixTile& tile) {
  const auto field = [](uint32_t bytes) { return static_cast<uint64_t>((bytes & 0x3ffffU) >> 4); };
  constexpr uint64_t kSwizzle128 = 1;
  return field(tile.start) | field(tile.leading) << 16 | field(tile.stride) << 32 |
         kSwizzle128 << 62;
}

/// The descriptor of a tile like that of `descriptor`, but `bytes` further on: multiples of 16. One
/// addition, where encode_tile() would be four instructions for each of many products.
constexpr PRAXINO_HOST_DEVICE uint64_t further(uint64_t descriptor, uint32_t bytes) {
  const uint32_t low = static_cast<uint32_t>(descriptor) + (bytes >> 4);
  return (descriptor & 0xffffffff00000000U) | low;
}

/// What encode_tile() was given.
constexpr PRAXINO_HOST_DEVICE MatrixTile decode_tile(uint64_t bits) {
  const auto bytes = [bits](int from) {
    return static_cast<uint32_t>(bits >> from & 0x3fffU) << 4;
  };
  return {bytes(0), bytes(16), bytes(32)};
}

/// Byte, in the window, of element (outer, depth) of a product's operand; depth below 16.
constexpr PRAXINO_HOST_DEVICE uint32_t operand_byte(const MatrixTile& tile, Major major, int outer,
                                                    int depth) {
  const int row = major == Major::kDepth ? outer : depth;
  const int along = major == Major::kDepth ? depth : outer;
  const uint32_t box = major == Major::kDepth ? 0U : static_cast<uint32_t>(along / kBoxColumns);
  return swizzle_128(tile.start + box * tile.leading +
                     static_cast<uint32_t>(row / 8) * tile.stride +
                     static_cast<uint32_t>(row % 8 * kBoxBytes + along % kBoxColumns * 2));
}

/// The descriptor's tile for step `step` of the contraction (16 elements each) of an operand of
/// `rows` stored rows, boxed as boxed_offset() says, whose first byte is `start`. For kDepth `from`
/// is the first outer element, a multiple of 8; for kOuter a multiple of 64.
constexpr PRAXINO_HOST_DEVICE MatrixTile operand_tile(uint32_t start, Major major, int rows,
                                                      int from, int step) {
  const auto box = static_cast<uint32_t>(rows * kBoxBytes);
  if (major == Major::kDepth) {
    const int column = step * kTileDepth;
    const uint32_t at = static_cast<uint32_t>(column / kBoxColumns) * box +
                        static_cast<uint32_t>(from * kBoxBytes + column % kBoxColumns * 2);
    return {start + at, 0, kSwizzleBytes};
  }
  const uint32_t at = static_cast<uint32_t>(from / kBoxColumns) * box +
                      static_cast<uint32_t>(step * kTileDepth * kBoxBytes);
  return {start + at, box, kSwizzleBytes};
}

}  // namespace praxino::kernels
