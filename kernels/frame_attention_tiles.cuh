#pragma once
// What the kernels of attention over frames share: products of tiles, hiding what is not seen, and
// which rows of memory a block works on.

#include "kernels/device/head_tile.cuh"
#include "kernels/frame_attention_plan.h"

namespace praxino::kernels::device {

inline constexpr float kLog2E = 1.44269504F;
inline constexpr float kLn2 = 0.69314718F;
inline constexpr float kMinusInfinity = -__builtin_inff();

/// Results of a warp: rows of 16, columns of 8.
template <int kRowTiles, int kColumnTiles>
using Results = FragmentC[kRowTiles][kColumnTiles];

template <int kRowTiles, int kColumnTiles>
PRAXINO_DEVICE void clear(Results<kRowTiles, kColumnTiles>& c) {
  PRAXINO_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    PRAXINO_UNROLL
    for (int n = 0; n < kColumnTiles; ++n) c[m][n] = {};
  }
}

/// c = rows 0.. of tile `a` times rows 0.. of tile `b`, along the width of both.
template <int kWidth, int kRowTiles, int kColumnTiles>
PRAXINO_DEVICE void multiply_rows(Results<kRowTiles, kColumnTiles>& c, const Bf16* a, const Bf16* b,
                                  Site site = PRAXINO_HERE) {
  clear<kRowTiles, kColumnTiles>(c);
  PRAXINO_UNROLL_TWICE
  for (int k = 0; k < kWidth; k += 16) {
    FragmentA left[kRowTiles];
    PRAXINO_UNROLL
    for (int m = 0; m < kRowTiles; ++m) left[m] = operand_a<kWidth>(a, 16 * m, k, site);
    PRAXINO_UNROLL
    for (int n = 0; n < kColumnTiles; n += 2) {
      const OperandB right = operand_b<kWidth>(b, 8 * n, k, site);
      PRAXINO_UNROLL
      for (int m = 0; m < kRowTiles; ++m) {
        multiply_add(c[m][n], left[m], right.b[0], site);
        multiply_add(c[m][n + 1], left[m], right.b[1], site);
      }
    }
  }
}

/// Results, rounded, as operands of the next product: half the registers.
template <int kRowTiles, int kColumnTiles>
using Rounded = FragmentA[kRowTiles][kColumnTiles / 2];

template <int kRowTiles, int kColumnTiles>
PRAXINO_DEVICE void round_results(Rounded<kRowTiles, kColumnTiles>& to,
                                  const Results<kRowTiles, kColumnTiles>& from) {
  PRAXINO_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    PRAXINO_UNROLL
    for (int n = 0; n < kColumnTiles; n += 2) to[m][n / 2] = as_operand(from[m][n], from[m][n + 1]);
  }
}

/// sum += a times tile `b`: the contraction runs along the columns of a and the rows of b.
template <int kWidth, int kRowTiles, int kColumnTiles>
PRAXINO_DEVICE void add_product(Results<kRowTiles, kWidth / 8>& sum,
                                const Rounded<kRowTiles, kColumnTiles>& a, const Bf16* b,
                                Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int k = 0; k < kColumnTiles; k += 2) {
    PRAXINO_UNROLL
    for (int n = 0; n < kWidth / 8; n += 2) {
      const OperandB right = operand_b_transposed<kWidth>(b, 8 * k, 8 * n, site);
      PRAXINO_UNROLL
      for (int m = 0; m < kRowTiles; ++m) {
        multiply_add(sum[m][n], a[m][k / 2], right.b[0], site);
        multiply_add(sum[m][n + 1], a[m][k / 2], right.b[1], site);
      }
    }
  }
}

// What each row of a tile sees lies in shared memory: found once, and no registers while tiles
// pass.

/// Keys that a query sees.
struct SeenKeys {
  int sunk;  // 0 .. sunk - 1, and
  int begin;
  int end;
  PRAXINO_DEVICE bool has(int k) const { return k < sunk || (begin <= k && k < end); }
};

/// Of queries first .. first + kQueries - 1. All threads of the block come here, and meet a barrier
/// before what they left is read.
template <int kQueries>
PRAXINO_DEVICE void find_seen_keys(int* seen, const FrameMask& mask, int first) {
  for (int i = thread_index(); i < kQueries; i += block_threads()) {
    const Ranges keys = mask.keys_of({first + i, first + i + 1});
    store_raw(seen + kSeenInts * i, keys.sinks.end, PRAXINO_HERE);
    store_raw(seen + kSeenInts * i + 1, keys.near.begin, PRAXINO_HERE);
    store_raw(seen + kSeenInts * i + 2, keys.near.end, PRAXINO_HERE);
  }
}

/// Queries that keys first .. first + kKeys - 1 are seen by, in the same form.
template <int kKeys>
PRAXINO_DEVICE void find_seeing_queries(int* seen, const FrameMask& mask, int first) {
  for (int i = thread_index(); i < kKeys; i += block_threads()) {
    const Range queries = mask.queries_of({first + i, first + i + 1});
    store_raw(seen + kSeenInts * i, 0, PRAXINO_HERE);
    store_raw(seen + kSeenInts * i + 1, queries.begin, PRAXINO_HERE);
    store_raw(seen + kSeenInts * i + 2, queries.end, PRAXINO_HERE);
  }
}

/// Scores that are not seen become -infinity: rows are those of `seen`, columns begin at
/// columns.begin and are none of the tile's from columns.end on.
template <int kRowTiles, int kColumnTiles>
PRAXINO_DEVICE void hide(Results<kRowTiles, kColumnTiles>& scores, const int* seen,
                         const Range& columns, Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    PRAXINO_UNROLL
    for (int half = 0; half < 4; half += 2) {
      const FragmentSpot spot = fragment_c(lane_index(), half);
      const int* row = seen + kSeenInts * (16 * m + spot.row);
      const SeenKeys keys{load_raw(row, site), load_raw(row + 1, site), load_raw(row + 2, site)};
      PRAXINO_UNROLL
      for (int n = 0; n < kColumnTiles; ++n) {
        PRAXINO_UNROLL
        for (int i = 0; i < 2; ++i) {
          const int column = columns.begin + 8 * n + spot.column + i;
          if (column >= columns.end || !keys.has(column)) scores[m][n].v[half + i] = kMinusInfinity;
        }
      }
    }
  }
}

/// Results times `factor` as the warp's own rows of a tile, rounded. Only lanes of this warp may
/// read them before a barrier of the block, and behind one of the warp.
template <int kWidth, int kRowTiles>
PRAXINO_DEVICE void keep_rows(const Results<kRowTiles, kWidth / 8>& results, float factor,
                              Bf16* tile, Site site = PRAXINO_HERE) {
  const int first = warp_index() * 16 * kRowTiles;
  PRAXINO_UNROLL
  for (int m = 0; m < kRowTiles; ++m) {
    PRAXINO_UNROLL
    for (int n = 0; n < kWidth / 8; ++n) {
      FragmentC c = results[m][n];
      PRAXINO_UNROLL
      for (int i = 0; i < 4; ++i) c.v[i] *= factor;
      store_result<kWidth>(tile, first + 16 * m, 8 * n, c, site);
    }
  }
}

/// Rows begin .. begin + rows - 1 of a tile to memory, those below `valid`, by `threads` threads of
/// which this is number `thread`.
template <int kWidth>
PRAXINO_DEVICE void copy_rows_out(const Bf16* tile, Bf16* to, int64_t stride, int begin, int rows,
                                  int valid, int thread, int threads, Site site = PRAXINO_HERE) {
  constexpr int kPieces = kWidth / kPiece;
  PRAXINO_NO_UNROLL
  for (int i = thread; i < rows * kPieces; i += threads) {
    const int row = begin + i / kPieces, column = i % kPieces * kPiece;
    if (row >= valid) continue;
    const Words words = load_words(tile + tile_offset(row, column, kWidth), site);
    store_words(to + row * stride + column, words, site);
  }
}

/// The warp's results times `factor` by way of its own rows of a tile, so that whole rows are
/// written.
template <int kWidth, int kRowTiles>
PRAXINO_DEVICE void write_rows(const Results<kRowTiles, kWidth / 8>& results, float factor,
                               Bf16* tile, Bf16* to, int64_t stride, int valid) {
  keep_rows<kWidth, kRowTiles>(results, factor, tile);
  sync_warp();
  copy_rows_out<kWidth>(tile, to, stride, warp_index() * 16 * kRowTiles, 16 * kRowTiles, valid,
                        lane_index(), kWarp);
}

/// The row of `data` at which token `token` of a head of a sequence begins.
PRAXINO_DEVICE const Bf16* row_of(const HeadsIn& x, int64_t batch, int64_t head, int64_t token) {
  return x.data + x.strides.at(batch, head) + token * x.strides.token;
}
PRAXINO_DEVICE Bf16* row_of(const HeadsOut& x, int64_t batch, int64_t head, int64_t token) {
  return x.data + x.strides.at(batch, head) + token * x.strides.token;
}

/// Tables from token `first` on, of the place that a head belongs to; `heads`: of all places.
template <int kWidth>
PRAXINO_DEVICE Rotation rotation_from(const Rotation& all, int places, int head, int64_t heads,
                                      int first) {
  const int place = head / (static_cast<int>(heads) / places);
  const int64_t angle = (int64_t{first} * places + place) * (kWidth / 2);
  return {all.gain, all.cos + angle, all.sin + angle, places * (kWidth / 2)};
}
/// Of queries first.. of a query head, of keys first.. of a key/value head.
template <int kWidth>
PRAXINO_DEVICE Rotation rotation_of_queries(const QkNormRotate& norm, const AttentionShape& shape,
                                            int head, int first) {
  return rotation_from<kWidth>({norm.query_gain, norm.query_cos, norm.query_sin, 0}, shape.places,
                               head, shape.heads, first);
}
template <int kWidth>
PRAXINO_DEVICE Rotation rotation_of_keys(const QkNormRotate& norm, const AttentionShape& shape,
                                         int key_head, int first) {
  return rotation_from<kWidth>({norm.key_gain, norm.key_cos, norm.key_sin, 0}, shape.places,
                               key_head, shape.key_heads, first);
}

/// What a block works on whose unit is a tile of queries.
struct QueryTile {
  int problem, batch, head, key_head;
  Range queries;
  Ranges seen;  // keys
};
template <int kQueries>
PRAXINO_DEVICE QueryTile query_tile(const AttentionShape& shape, const TileOrder::Unit& unit) {
  const int heads = static_cast<int>(shape.heads), problem = static_cast<int>(unit.problem);
  const int shared_by = heads / static_cast<int>(shape.key_heads);
  const int head = problem % heads, first = static_cast<int>(unit.tile) * kQueries;
  const Range queries{first, smaller(first + kQueries, shape.mask.queries)};
  return {problem, problem / heads, head, head / shared_by, queries, shape.mask.keys_of(queries)};
}
/// The block's, where there is a block for each.
template <int kQueries>
PRAXINO_DEVICE QueryTile query_tile(const AttentionShape& shape) {
  return query_tile<kQueries>(shape, queries_order(shape, kQueries).unit(block_index()));
}

/// Two stages of keys and values in shared memory.
template <int kKeys, int kWidth, int kThreads>
struct KeyStages {
  Bf16 *keys, *values;
  static constexpr int kElements = 4 * kKeys * kWidth;
  PRAXINO_DEVICE explicit KeyStages(Bf16* memory)
      : keys(memory), values(memory + 2 * kKeys * kWidth) {}
  PRAXINO_DEVICE Bf16* keys_of(int index) const { return keys + index % 2 * kKeys * kWidth; }
  PRAXINO_DEVICE Bf16* values_of(int index) const { return values + index % 2 * kKeys * kWidth; }
  /// Begins to copy tile `index` of what the block sees.
  PRAXINO_DEVICE void fetch(const HeadsIn& k, const HeadsIn& v, const QueryTile& at,
                            int index) const {
    const Range range = tile_of(at.seen, index, kKeys);
    copy_tile<kKeys, kWidth, kThreads>(keys_of(index),
                                       row_of(k, at.batch, at.key_head, range.begin),
                                       k.strides.token, range.size());
    copy_tile<kKeys, kWidth, kThreads>(values_of(index),
                                       row_of(v, at.batch, at.key_head, range.begin),
                                       v.strides.token, range.size());
  }
};

}  // namespace praxino::kernels::device
