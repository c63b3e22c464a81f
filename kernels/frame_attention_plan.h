#pragma once
// How attention over frames is cut into tiles and blocks, and which kernel takes a shape: pure
// functions of sizes and of the device's shared memory.

#include <cstddef>

#include "kernels/frame_attention.h"
#include "kernels/sum_rows.h"

namespace praxino::kernels {

/// What a row of a tile sees, as kernels keep it: the end of the sinks, begin and end of the rest.
inline constexpr int kSeenInts = 3;

/// Forward: blocks of 128 queries, two stages of keys and values. Warps of 32 queries read shared
/// memory half as often as warps of 16; tiles of keys are as large as registers then allow.
template <int kWidth, bool kNorm>
struct ForwardTiles {
  static constexpr int kQueries = 128;
  static constexpr int kRowTiles = kWidth == 128 && kNorm ? 1 : 2;  // of 16 queries, of a warp
  static constexpr int kThreads = kQueries / (16 * kRowTiles) * 32;
  static constexpr int kKeys = kWidth == 128 && !kNorm ? 32 : 64;
  static constexpr size_t kSharedBytes =
      sizeof(Bf16) * kWidth * (kQueries + 4 * kKeys) + sizeof(int) * kSeenInts * kQueries;
};

/// What keys and values of a head take.
constexpr PRAXINO_HOST_DEVICE int64_t bytes_of_keys(const AttentionShape& shape) {
  return int64_t{2} * static_cast<int64_t>(sizeof(Bf16)) * shape.mask.keys * shape.width;
}

constexpr PRAXINO_HOST_DEVICE TileOrder queries_order(const AttentionShape& shape, int queries) {
  return {.problems = shape.batch * shape.heads,
          .tiles = tiles_of(shape.mask.queries, queries),
          .group = problems_in_cache(bytes_of_keys(shape)) * shape.shared_by(),
          .longest_is_last = true};
}

/// Backward by tiles of queries: two stages of keys and values.
template <int kWidth>
struct QueryTiles {
  static constexpr int kRowTiles = kWidth == 128 ? 1 : 2;
  static constexpr int kThreads = 128;
  static constexpr int kQueries = 4 * 16 * kRowTiles;
  static constexpr int kKeys = 64;
  static constexpr size_t kSharedBytes = sizeof(Bf16) * kWidth * (2 * kQueries + 4 * kKeys) +
                                         sizeof(float) * (2 + kSeenInts) * kQueries;
};

/// Backward by tiles of keys: two stages of queries and of gradients of their results. In one pass,
/// all keys of a head are one tile, and gradients of scores meet in shared memory.
template <int kWidth, int kOfRowTiles, int kOfWarps, bool kAllKeys>
struct KeyTiles {
  static constexpr bool kOnePass = kAllKeys;
  static constexpr int kRowTiles = kOfRowTiles;
  static constexpr int kWarps = kOfWarps;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kKeys = kWarps * 16 * kRowTiles;
  static constexpr int kQueries = 32;
  static constexpr size_t kSharedBytes =
      sizeof(Bf16) * (kWidth * (2 * kKeys + 4 * kQueries) + (kOnePass ? kKeys * kQueries : 0)) +
      sizeof(float) * (4 * kQueries + kSeenInts * kKeys + (kOnePass ? 2 * kWarps * kWidth : 0));
};
using KeyTiles64 = KeyTiles<64, 2, 4, false>;
using KeyTiles128 = KeyTiles<128, 1, 8, false>;
using OnePass64 = KeyTiles<64, 2, 4, true>;
using OnePass64Long = KeyTiles<64, 2, 8, true>;
using OnePass128 = KeyTiles<128, 1, 8, true>;

/// Key tiles: earlier ones are seen by more queries.
constexpr PRAXINO_HOST_DEVICE TileOrder keys_order(const AttentionShape& shape, int keys) {
  const int64_t of_queries = int64_t{2} * static_cast<int64_t>(sizeof(Bf16)) * shape.mask.queries *
                             shape.width * shape.shared_by();
  return {.problems = shape.batch * shape.key_heads,
          .tiles = tiles_of(shape.mask.keys, keys),
          .group = problems_in_cache(of_queries),
          .longest_is_last = false};
}

enum class BackwardPlan {
  kTwoPasses,     // over tiles of queries, then over tiles of keys
  kOnePassOf128,  // up to 128 keys in one tile
  kOnePassOf256,  // up to 256, of width 64
};

/// How gradients are found on a device whose blocks may have `shared_limit` bytes of shared memory.
constexpr BackwardPlan backward_plan(const AttentionShape& shape, size_t shared_limit) {
  const int keys = shape.mask.keys;
  if (keys < 1) return BackwardPlan::kTwoPasses;  // a tile of no keys would write nothing
  const size_t of_128 = shape.width == 64 ? OnePass64::kSharedBytes : OnePass128::kSharedBytes;
  if (keys <= 128)
    return of_128 <= shared_limit ? BackwardPlan::kOnePassOf128 : BackwardPlan::kTwoPasses;
  return shape.width == 64 && keys <= 256 && OnePass64Long::kSharedBytes <= shared_limit
             ? BackwardPlan::kOnePassOf256
             : BackwardPlan::kTwoPasses;
}

/// Floats of FrameAttentionBackward::gain_workspace.
constexpr int64_t gain_workspace(const AttentionShape& shape) {
  return sum_rows_workspace(shape.batch * shape.key_heads, 2 * shape.width);
}

/// What a kernel can read or write in pieces of 16 bytes.
template <class Heads>
bool readable(const Heads& x) {
  const HeadStrides& s = x.strides;
  return aligned_16(x.data) && s.batch % 8 == 0 && s.token % 8 == 0 && s.head % 8 == 0;
}

constexpr bool in_range(const AttentionShape& s) {
  if (s.width != 64 && s.width != 128) return false;
  if (s.batch < 0 || s.heads < 0 || s.key_heads < 1 || s.heads % s.key_heads != 0) return false;
  if (s.places < 1 || s.key_heads % s.places != 0) return false;
  return s.scale > 0 && in_range(s.mask) && (s.heads == 0 || s.batch <= INT32_MAX / s.heads);
}

/// All tables or none, all readable.
inline bool in_range(const QkNormRotate& n) {
  const void* all[] = {n.query_gain, n.key_gain, n.query_cos, n.query_sin, n.key_cos, n.key_sin};
  for (const void* table : all) {
    if ((table == nullptr) != (n.query_gain == nullptr) || !aligned_16(table)) return false;
  }
  return true;
}

}  // namespace praxino::kernels
