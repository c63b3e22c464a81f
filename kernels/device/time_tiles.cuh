#pragma once
// What both passes of attention along time do with tiles of 16 frames (kernels/time_tiles.h): bring
// them in, normalize and rotate, multiply, bring them out. A tile buffer holds `rows` rows of
// kWidth bfloat16, chunks exchanged as tile_element() says. A warp's own rows are the 16 from 16 *
// warp_index().

#include "kernels/device/copy_async.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/device/warp.cuh"
#include "kernels/time_attention.h"

namespace praxino::kernels::device {

/// The items of a block, in order: all rounds of all units of every so many-th chunk.
class TimeItems {
 public:
  PRAXINO_DEVICE TimeItems(const TimeShape& shape, const TimePlan& plan)
      : shape_(shape), plan_(plan) {}
  PRAXINO_DEVICE bool is_one(const TimeItem& item) const { return item.unit < item.end; }
  PRAXINO_DEVICE TimeItem first() const { return from_chunk(block_index()); }
  PRAXINO_DEVICE bool last_of_unit(const TimeItem& item) const {
    return item.round + 1 == shape_.group;
  }
  PRAXINO_DEVICE bool last_of_chunk(const TimeItem& item) const {
    return last_of_unit(item) && item.unit + 1 == item.end;
  }
  PRAXINO_DEVICE TimeItem after(const TimeItem& item) const {
    if (!last_of_unit(item)) return {item.chunk, item.unit, item.end, item.round + 1};
    if (!last_of_chunk(item)) return {item.chunk, item.unit + 1, item.end, 0};
    return from_chunk(item.chunk + grid_blocks());
  }

 private:
  PRAXINO_DEVICE TimeItem from_chunk(int64_t chunk) const {
    if (chunk >= shape_.batch * plan_.chunks) return {};
    return first_of_chunk(plan_, static_cast<int>(chunk));
  }
  const TimeShape& shape_;
  const TimePlan& plan_;
};

/// Which of the stages holds the operands of an item.
struct TimeStages {
  int queries = 0;
  int keys = 0;
};

/// Takes a block through its items: while one is worked on, the operands of the next arrive, if the
/// plan has two stages. `pass` has load(item, stages), which starts copies; normalize(item,
/// stages), whose results all threads see in work(item, stages). In work() warps may stand at
/// different places; it must not touch what the next load() writes, the other stage.
template <class Pass>
PRAXINO_DEVICE void run_items(const Pass& pass, const TimeItems& items, const TimePlan& plan) {
  TimeStages stages;
  TimeItem item = items.first();
  if (items.is_one(item)) pass.load(item, stages);
  while (items.is_one(item)) {
    const TimeItem next = items.after(item);
    const TimeStages next_stages = {
        (stages.queries + 1) % plan.stages,
        next.round == 0 ? (stages.keys + 1) % plan.stages : stages.keys};
    wait_copies<0>();
    sync_block();
    if (plan.stages > 1 && items.is_one(next)) pass.load(next, next_stages);
    pass.normalize(item, stages);
    sync_block();
    pass.work(item, stages);
    if (plan.stages == 1) {
      sync_block();
      if (items.is_one(next)) pass.load(next, next_stages);
    }
    item = items.after(item);  // again: `next` would cost registers all the while
    stages = next_stages;
  }
}

/// What a warp works on: a tile of a sequence, 16 rows of the block's tiles.
struct TimeWarp {
  int row;       // the first of its 16
  int first;     // the sequence's first
  int tile;      // of the sequence
  bool has_one;  // false for warps past the last sequence of a unit
};
PRAXINO_DEVICE TimeWarp time_warp(const TimePlan& plan) {
  const int own = warp_index(), sequence = own / plan.tiles;
  return {kTimeTile * own, sequence * plan.tiles * kTimeTile, own - sequence * plan.tiles,
          sequence < plan.sequences};
}

/// Where a row of a block's tiles lies in memory.
struct TimeSpot {
  bool there = false;
  int64_t token = 0;  // of B T N
  int position = 0;   // of T N: row of the tables
  int head = 0;       // key/value head
};

PRAXINO_DEVICE TimeSpot time_spot(const TimeShape& shape, const TimePlan& plan,
                                  const TimeItem& item, int row) {
  const TimeRow in_unit = time_row(row, plan.tiles);
  const int batch = item.unit / plan.units;
  const auto sequence = static_cast<uint32_t>(item.unit - batch * plan.units) *
                            static_cast<uint32_t>(plan.sequences) +
                        static_cast<uint32_t>(in_unit.sequence);
  if (in_unit.sequence >= plan.sequences || in_unit.frame >= shape.frames ||
      sequence >= static_cast<uint32_t>(shape.sequences()))
    return {};
  const uint32_t heads = static_cast<uint32_t>(shape.kv_heads), place = sequence / heads;
  const int position = in_unit.frame * static_cast<int>(shape.places) + static_cast<int>(place);
  return {true, batch * shape.frames * shape.places + position, position,
          static_cast<int>(sequence - place * heads)};
}

/// The heads of one tensor of a token: how many lie between two sequences, and which is meant.
struct TimeHeads {
  int64_t token;  // elements between tokens
  int group;      // heads of a key/value head
  int round;
};

PRAXINO_DEVICE int64_t time_offset(const TimeSpot& spot, const TimeHeads& heads, int width) {
  return spot.token * heads.token + (spot.head * heads.group + heads.round) * int64_t{width};
}

/// Starts copies of all rows of the block's tile; rows that are not there become zeros.
template <int kWidth>
PRAXINO_DEVICE void copy_tile(Bf16* tile, const Bf16* from, const TimeHeads& heads,
                              const TimeShape& shape, const TimePlan& plan, const TimeItem& item,
                              Site site = PRAXINO_HERE) {
  constexpr int kChunks = kWidth / 8;
  const int chunk = thread_index() % kChunks;
  for (int row = thread_index() / kChunks; row < plan.rows(); row += plan.threads() / kChunks) {
    const TimeSpot spot = time_spot(shape, plan, item, row);
    copy_16_async_or_zero(tile + tile_element(row, chunk, kWidth),
                          from + time_offset(spot, heads, kWidth) + 8 * chunk, spot.there, site);
  }
}

/// Writes the warp's own rows.
template <int kWidth>
PRAXINO_DEVICE void store_tile(const Bf16* tile, Bf16* to, const TimeHeads& heads,
                               const TimeShape& shape, const TimePlan& plan, const TimeItem& item,
                               Site site = PRAXINO_HERE) {
  constexpr int kChunks = kWidth / 8;
  const int chunk = lane_index() % kChunks;
  PRAXINO_UNROLL
  for (int i = 0; i < kTimeTile; i += kWarp / kChunks) {
    const int row = kTimeTile * warp_index() + i + lane_index() / kChunks;
    const TimeSpot spot = time_spot(shape, plan, item, row);
    if (!spot.there) continue;
    store_words(to + time_offset(spot, heads, kWidth) + 8 * chunk,
                load_words(tile + tile_element(row, chunk, kWidth), site), site);
  }
}

/// RMSNorm with gain and rotation of all rows of the block's tile, four lanes a row; `to` may be
/// `from`. A lane takes chunks of the first half of a row and those of the second that rotate with
/// them.
template <int kWidth>
PRAXINO_DEVICE void norm_rotate_tile(const Bf16* from, Bf16* to, const TimeNorm& norm,
                                     const TimeShape& shape, const TimePlan& plan,
                                     const TimeItem& item, Site site = PRAXINO_HERE) {
  constexpr int kPairs = kWidth / 64, kHalf = kWidth / 2;
  const int lane = thread_index() % 4;
  for (int team = thread_index() / 4; team < plan.rows(); team += plan.threads() / 4) {
    const int row = row_of_team(team);
    const TimeSpot spot = time_spot(shape, plan, item, row);
    Vector<8> x1[kPairs], x2[kPairs];
    float squares = 0;
    PRAXINO_UNROLL
    for (int p = 0; p < kPairs; ++p) {
      const int chunk = lane + 4 * p;
      x1[p] = load_vector<8>(from + tile_element(row, chunk, kWidth), site);
      x2[p] = load_vector<8>(from + tile_element(row, chunk + kHalf / 8, kWidth), site);
      PRAXINO_UNROLL
      for (int i = 0; i < 8; ++i) squares += x1[p].v[i] * x1[p].v[i] + x2[p].v[i] * x2[p].v[i];
    }
    const float inverse = inverse_rms(group_sum(squares, 4, site), kWidth);
    PRAXINO_UNROLL
    for (int p = 0; p < kPairs; ++p) {
      const int chunk = lane + 4 * p, column = 8 * chunk;
      if (spot.there) {
        const int64_t angle = int64_t{spot.position} * kHalf + column;
        const Vector<8> c = load_vector<8>(norm.cos + angle, site);
        const Vector<8> s = load_vector<8>(norm.sin + angle, site);
        const Vector<8> gain1 = load_vector<8>(norm.gain + column, site);
        const Vector<8> gain2 = load_vector<8>(norm.gain + column + kHalf, site);
        PRAXINO_UNROLL
        for (int i = 0; i < 8; ++i) {
          const float a = x1[p].v[i] * inverse * gain1.v[i];
          const float b = x2[p].v[i] * inverse * gain2.v[i];
          x1[p].v[i] = a * c.v[i] - b * s.v[i];
          x2[p].v[i] = b * c.v[i] + a * s.v[i];
        }
      }
      store_vector(to + tile_element(row, chunk, kWidth), x1[p], site);
      store_vector(to + tile_element(row, chunk + kHalf / 8, kWidth), x2[p], site);
    }
  }
}

/// Four words of a 16 x 16 part of a tile, from row `row` and column `column`. `spot`: what each
/// lane points at, matrix_row_of_a or matrix_row_of_b of kernels/fragments.h.
template <bool kTransposed>
PRAXINO_DEVICE Pairs<4> load_part(const Bf16* tile, int width, int row, int column,
                                  const FragmentSpot& spot, Site site = PRAXINO_HERE) {
  const int chunk = (column + spot.column) / 8;
  return load_matrices<4, kTransposed>(tile + tile_element(row + spot.row, chunk, width), site);
}

/// c[0], c[1] += a b, where b holds two operands of 16 x 8.
PRAXINO_DEVICE void multiply_add_two(FragmentC* c, const FragmentA& a, const Pairs<4>& b,
                                     Site site = PRAXINO_HERE) {
  multiply_add(c[0], a, {{b.word[0], b.word[1]}}, site);
  multiply_add(c[1], a, {{b.word[2], b.word[3]}}, site);
}

using TimeScores = FragmentC[2 * kMostTimeTiles];  // 16 rows against all frames of a sequence

/// scores += left right^T over the width, for the 16 rows of `left` from `row` and those 16-row
/// tiles of `right` that `visible` names, counted from `first`.
template <int kWidth>
PRAXINO_DEVICE void multiply_rows(TimeScores& scores, const Bf16* left, int row, const Bf16* right,
                                  int first, uint32_t visible, Site site = PRAXINO_HERE) {
  const FragmentSpot by_a = matrix_row_of_a(lane_index()), by_b = matrix_row_of_b(lane_index());
  PRAXINO_UNROLL
  for (int column = 0; column < kWidth; column += 16) {
    const FragmentA a = load_part<false>(left, kWidth, row, column, by_a, site);
    PRAXINO_UNROLL
    for (int tile = 0; tile < kMostTimeTiles; ++tile) {
      if ((visible >> tile & 1U) == 0) continue;
      multiply_add_two(
          scores + 2 * tile, a,
          load_part<false>(right, kWidth, first + kTimeTile * tile, column, by_b, site), site);
    }
  }
}

/// result += a right, for the 16 rows of `right` from `row`: the contraction.
template <int kWidth>
PRAXINO_DEVICE void multiply_columns(FragmentC (&result)[kWidth / 8], const FragmentA& a,
                                     const Bf16* right, int row, Site site = PRAXINO_HERE) {
  const FragmentSpot by_a = matrix_row_of_a(lane_index());
  PRAXINO_UNROLL
  for (int column = 0; column < kWidth; column += 16) {
    multiply_add_two(result + column / 8, a,
                     load_part<true>(right, kWidth, row, column, by_a, site), site);
  }
}

/// Two neighbouring results as the operand of the next product.
PRAXINO_DEVICE FragmentA as_operand(const FragmentC* c) {
  return {{pack_bf16(c[0].v[0], c[0].v[1]), pack_bf16(c[0].v[2], c[0].v[3]),
           pack_bf16(c[1].v[0], c[1].v[1]), pack_bf16(c[1].v[2], c[1].v[3])}};
}

/// Tiles that tile `query` sees, a bit each.
PRAXINO_DEVICE uint32_t visible_tiles(const TimeShape& shape, int query) {
  uint32_t visible = 0;
  PRAXINO_UNROLL
  for (int tile = 0; tile < kMostTimeTiles; ++tile)
    visible |= shape.sees_any(query, tile) ? 1U << tile : 0U;
  return visible;
}

/// What scores are multiplied by on their way into exp2.
PRAXINO_DEVICE float exponent_scale(int width) {
  return 1.44269504F * rsqrt_fast(static_cast<float>(width));
}

/// What is left of a softmax of two rows of a lane.
struct TimeSums {
  float of[2];
};

/// Scores become exp(scale * (score - largest)), or zero where a frame does not see the other;
/// returns the sum of each row, in each of its four lanes. `scale` includes log2(e).
PRAXINO_DEVICE TimeSums exponentials(TimeScores& scores, const TimeShape& shape, int query,
                                     uint32_t visible, float scale, Site site = PRAXINO_HERE) {
  constexpr float kNone = -3.0e38F;  // finite: no row is without its own frame
  TimeSums most = {{kNone, kNone}}, sums = {};
  PRAXINO_UNROLL
  for (int c = 0; c < 2 * kMostTimeTiles; ++c) {
    if ((visible >> (c / 2) & 1U) == 0) continue;
    PRAXINO_UNROLL
    for (int i = 0; i < 4; ++i) {
      const FragmentSpot spot = fragment_c(lane_index(), i);
      float& score = scores[c].v[i];
      score = shape.sees(kTimeTile * query + spot.row, 8 * c + spot.column) ? score * scale : kNone;
      most.of[i / 2] = score > most.of[i / 2] ? score : most.of[i / 2];
    }
  }
  PRAXINO_UNROLL
  for (int r = 0; r < 2; ++r) most.of[r] = group_max(most.of[r], 4, site);
  PRAXINO_UNROLL
  for (int c = 0; c < 2 * kMostTimeTiles; ++c) {
    if ((visible >> (c / 2) & 1U) == 0) continue;
    PRAXINO_UNROLL
    for (int i = 0; i < 4; ++i) {
      scores[c].v[i] = exp2_fast(scores[c].v[i] - most.of[i / 2]);
      sums.of[i / 2] += scores[c].v[i];
    }
  }
  PRAXINO_UNROLL
  for (int r = 0; r < 2; ++r) sums.of[r] = group_sum(sums.of[r], 4, site);
  return sums;
}

/// Where a lane's pair of elements of result `c` lies in a tile: rows from `row`, `second`: of the
/// lower half.
PRAXINO_DEVICE int pair_element(int row, int c, int second, int width) {
  const FragmentSpot spot = fragment_c(lane_index(), 2 * second);
  return tile_element(row + spot.row, c, width) + spot.column;
}

/// Writes results as rows of a tile.
template <int kCount>
PRAXINO_DEVICE void store_results(Bf16* tile, int width, int row, const FragmentC (&c)[kCount],
                                  Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int i = 0; i < kCount; ++i) {
    PRAXINO_UNROLL
    for (int r = 0; r < 2; ++r) {
      store_word(tile + pair_element(row, i, r, width), pack_bf16(c[i].v[2 * r], c[i].v[2 * r + 1]),
                 site);
    }
  }
}

}  // namespace praxino::kernels::device
