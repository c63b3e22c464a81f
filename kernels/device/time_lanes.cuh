#pragma once
// What both passes of attention along time do with a warp's 16 rows of float
// (kernels/time_tiles.h): bring them in, normalize and rotate, multiply with rows in shared memory,
// bring them out. Scores lie in shared memory between one product and the next.

#include "kernels/device/copy_async.cuh"
#include "kernels/device/time_walk.cuh"

namespace praxino::kernels::device {

/// A lane's rows, lane_row(), and of each its columns, lane_column().
template <int kWidth>
struct LaneRows {
  float v[kLaneRows][kWidth / kRowLanes];
};

/// Where a lane's rows lie in memory: neighbouring frames. Those past the last are not there.
struct LaneSpot {
  int rows;      // that are there
  int token;     // of the first, of B T N
  int position;  // of the first, of T N; of the place's first frame where no row is there
  int places;    // from one row to the next
  int head;      // of keys and values
  PRAXINO_DEVICE bool there(int r) const { return r < rows; }
  /// Of row r: its row of the tables, or some other one where it is not there.
  PRAXINO_DEVICE int position_of(int r) const { return position + (there(r) ? r * places : 0); }
};
PRAXINO_DEVICE LaneSpot lane_spot(const TimeShape& shape, const TimeTeam& team,
                                  const TimeCursor& at) {
  const int frame = kTimeTile * team.tile + lane_row(lane_index(), 0);
  const int left = static_cast<int>(shape.frames) - frame, places = static_cast<int>(shape.places);
  return {.rows = left < kLaneRows ? left : kLaneRows,
          .token = at.token + frame * places,
          .position = (left > 0 ? frame * places : 0) + at.place,
          .places = places,
          .head = at.head};
}

/// Four neighbours of row r: elements 4 piece .. 4 piece + 3.
template <int kWidth>
PRAXINO_DEVICE Vector<4> piece_of(const LaneRows<kWidth>& rows, int r, int piece) {
  const float* v = rows.v[r] + 4 * piece;
  return {{v[0], v[1], v[2], v[3]}};
}
template <int kWidth>
PRAXINO_DEVICE void set_piece(LaneRows<kWidth>& rows, int r, int piece, const Vector<4>& from) {
  PRAXINO_UNROLL
  for (int i = 0; i < 4; ++i) rows.v[r][4 * piece + i] = from.v[i];
}

/// Where the lane's part of row r begins; its pieces lie 32 elements apart.
template <int kWidth>
PRAXINO_DEVICE int64_t lane_offset(const LaneSpot& spot, const TimeHeads& heads, int r) {
  return multiply_wide(spot.token + r * spot.places, heads.token) + heads.head * kWidth +
         lane_column(lane_index(), 0);
}
/// The same in an image of the warp's tile: 16 rows without gaps.
template <int kWidth>
PRAXINO_DEVICE int lane_of_image(int r) {
  return lane_row(lane_index(), r) * kWidth + lane_column(lane_index(), 0);
}

/// Rows that are not there are zeros.
template <int kWidth>
PRAXINO_DEVICE LaneRows<kWidth> load_lanes(const float* from, const LaneSpot& spot,
                                           const TimeHeads& heads, Site site = PRAXINO_HERE) {
  LaneRows<kWidth> rows = {};
  PRAXINO_UNROLL
  for (int r = 0; r < kLaneRows; ++r) {
    if (!spot.there(r)) continue;
    const float* row = from + lane_offset<kWidth>(spot, heads, r);
    PRAXINO_UNROLL
    for (int piece = 0; piece < kWidth / 32; ++piece)
      set_piece(rows, r, piece, load_vector<4>(row + 32 * piece, site));
  }
  return rows;
}

template <int kWidth>
PRAXINO_DEVICE void store_lanes(const LaneRows<kWidth>& rows, float* to, const LaneSpot& spot,
                                const TimeHeads& heads, Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int r = 0; r < kLaneRows; ++r) {
    if (!spot.there(r)) continue;
    float* row = to + lane_offset<kWidth>(spot, heads, r);
    PRAXINO_UNROLL
    for (int piece = 0; piece < kWidth / 32; ++piece)
      store_vector(row + 32 * piece, piece_of(rows, r, piece), site);
  }
}

/// Rows on their way to the image of the warp's tile, to be waited for: zeros for those that are
/// not there.
template <int kWidth>
PRAXINO_DEVICE void copy_lanes_async(float* image, const float* from, const LaneSpot& spot,
                                     const TimeHeads& heads, Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int r = 0; r < kLaneRows; ++r) {
    const float* row = from + (spot.there(r) ? lane_offset<kWidth>(spot, heads, r) : 0);
    float* to = image + lane_of_image<kWidth>(r);
    PRAXINO_UNROLL
    for (int piece = 0; piece < kWidth / 32; ++piece)
      copy_16_async_or_zero(to + 32 * piece, row + 32 * piece, spot.there(r), site);
  }
}

template <int kWidth>
PRAXINO_DEVICE void store_image(float* image, const LaneRows<kWidth>& rows,
                                Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int r = 0; r < kLaneRows; ++r) {
    PRAXINO_UNROLL
    for (int piece = 0; piece < kWidth / 32; ++piece)
      store_vector(image + lane_of_image<kWidth>(r) + 32 * piece, piece_of(rows, r, piece), site);
  }
}

/// 1 / RMS of a lane's rows.
struct LaneScale {
  float of[kLaneRows];
};
template <int kWidth>
PRAXINO_DEVICE LaneScale inverse_rms(const LaneRows<kWidth>& rows, Site site = PRAXINO_HERE) {
  LaneScale scale;
  PRAXINO_UNROLL
  for (int r = 0; r < kLaneRows; ++r) {
    float squares = 0;
    PRAXINO_UNROLL
    for (const float x : rows.v[r]) squares += x * x;
    scale.of[r] = device::inverse_rms(group_sum(squares, kRowLanes, site), kWidth);
  }
  return scale;
}

/// RMSNorm with gain and rotation; zeros stay zeros. Returns 1 / RMS.
template <int kWidth>
PRAXINO_DEVICE LaneScale norm_rotate(LaneRows<kWidth>& rows, const TimeNorm& norm,
                                     const LaneSpot& spot, Site site = PRAXINO_HERE) {
  constexpr int kHalf = kWidth / 64;  // pieces
  const LaneScale scale = inverse_rms(rows, site);
  PRAXINO_UNROLL
  for (int piece = 0; piece < kHalf; ++piece) {
    if (piece > 0) sync_warp(kFullWarp, site);  // else all tables wait in registers at once
    const int column = lane_column(lane_index(), 4 * piece);
    const TimeGains<4> gains = load_gains<kWidth, 4>(norm, column, site);
    PRAXINO_UNROLL
    for (int r = 0; r < kLaneRows; ++r) {
      Vector<4> x1 = piece_of(rows, r, piece), x2 = piece_of(rows, r, piece + kHalf);
      norm_rotate_pair(x1, x2, scale.of[r], gains,
                       load_angles_at<kWidth, 4>(norm, spot.position_of(r), column, site));
      set_piece(rows, r, piece, x1);
      set_piece(rows, r, piece + kHalf, x2);
    }
  }
  return scale;
}

/// What a tile of queries sees, and of a lane's scores which: softmax_score(). Frames that are not
/// there are not seen.
PRAXINO_DEVICE TimeMask lane_mask(const TimeShape& shape, int query) {
  return {shape, query, [&](int number) {
            const FragmentSpot spot = softmax_score(lane_index(), number);
            return spot.column < shape.frames &&
                   shape.sees(kTimeTile * query + spot.row, spot.column);
          }};
}

/// scores = left right^T over the width: the warp's 16 rows with `count` rows of an image, an even
/// number. Row i's go to scores + i stride.
template <int kWidth>
PRAXINO_DEVICE void multiply_rows(float* scores, int stride, const LaneRows<kWidth>& left,
                                  const float* right, int count, Site site = PRAXINO_HERE) {
  const FragmentSpot own = score_of_lane(lane_index());
  float* to = scores + own.row * stride + own.column;
  const float* from = right + lane_column(lane_index(), 0);
  PRAXINO_NO_UNROLL
  for (int row = 0; row < count; row += 2) {
    float sums[2 * kLaneRows] = {};
    PRAXINO_UNROLL
    for (int piece = 0; piece < kWidth / 32; ++piece) {
      PRAXINO_UNROLL
      for (int other = 0; other < 2; ++other) {
        const Vector<4> x = load_vector<4>(from + (row + other) * kWidth + 32 * piece, site);
        PRAXINO_UNROLL
        for (int r = 0; r < kLaneRows; ++r) {
          PRAXINO_UNROLL
          for (int i = 0; i < 4; ++i) sums[2 * r + other] += left.v[r][4 * piece + i] * x.v[i];
        }
      }
    }
    store(to + row, spread_sums<1>(sums, site), site);
  }
}

/// sum += weights right, for `count` rows of an image, an even number. The weights of the lane's
/// rows are four rows of scores from `weights`; transposed, four columns.
template <bool kTransposed, int kWidth>
PRAXINO_DEVICE void add_weighted(LaneRows<kWidth>& sum, const float* weights, int stride,
                                 const float* right, int count, Site site = PRAXINO_HERE) {
  const float* from = right + lane_column(lane_index(), 0);
  PRAXINO_NO_UNROLL
  for (int row = 0; row < count; row += 2) {
    float weight[2][kLaneRows];
    PRAXINO_UNROLL
    for (int pair = 0; pair < kLaneRows; ++pair) {
      if constexpr (kTransposed) {
        const int other = pair / 2, r = pair % 2 * 2;
        const Vector<2> two = load_pair(weights + (row + other) * stride + r, site);
        weight[other][r] = two.v[0];
        weight[other][r + 1] = two.v[1];
      } else {
        const Vector<2> two = load_pair(weights + pair * stride + row, site);
        weight[0][pair] = two.v[0];
        weight[1][pair] = two.v[1];
      }
    }
    PRAXINO_UNROLL
    for (int other = 0; other < 2; ++other) {
      PRAXINO_UNROLL
      for (int piece = 0; piece < kWidth / 32; ++piece) {
        const Vector<4> x = load_vector<4>(from + (row + other) * kWidth + 32 * piece, site);
        PRAXINO_UNROLL
        for (int r = 0; r < kLaneRows; ++r) {
          PRAXINO_UNROLL
          for (int i = 0; i < 4; ++i) sum.v[r][4 * piece + i] += weight[other][r] * x.v[i];
        }
      }
    }
  }
}

/// The scores that a lane has of a row of kTiles tiles: every kRowLanes-th frame.
template <int kTiles>
struct LaneScores {
  static constexpr int kCount = kTiles * kTimeTile / kRowLanes;
  float v[kCount];
};

/// Which of row r the row sees: bit kLaneRows m for score m.
PRAXINO_DEVICE uint32_t seen_by(const TimeMask& mask, int r) { return mask.scores >> r; }
PRAXINO_DEVICE bool sees(uint32_t seen, int m) { return (seen & 1U << (kLaneRows * m)) != 0; }

/// The row's scores; `none` where nothing is seen.
template <int kTiles>
PRAXINO_DEVICE void load_scores(LaneScores<kTiles>& scores, const float* row, uint32_t seen,
                                float none, Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int m = 0; m < scores.kCount; ++m) {
    scores.v[m] = none;
    if (sees(seen, m)) scores.v[m] = load(row + lane_index() % kRowLanes + kRowLanes * m, site);
  }
}
/// All of those tiles that are seen.
template <int kTiles>
PRAXINO_DEVICE void store_scores(float* row, const LaneScores<kTiles>& scores, const TimeMask& mask,
                                 Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int m = 0; m < scores.kCount; ++m) {
    if (mask.sees_tile(m / 2))
      store(row + lane_index() % kRowLanes + kRowLanes * m, scores.v[m], site);
  }
}

/// The row's probabilities from its scores in shared memory; zeros where nothing is seen, all of
/// them in a row that sees nothing, which is one that is not there.
template <int kWidth, int kTiles>
PRAXINO_DEVICE void softmax(LaneScores<kTiles>& p, const float* row, uint32_t seen,
                            Site site = PRAXINO_HERE) {
  constexpr float kNone = -3.0e38F;
  const float scale = 1.44269504F * rsqrt_fast(static_cast<float>(kWidth));
  load_scores(p, row, seen, kNone, site);
  float most = kNone, sum = 0;
  PRAXINO_UNROLL
  for (const float score : p.v) most = maximum_number(most, score);
  most = scale * group_max(most, kRowLanes, site);
  PRAXINO_UNROLL
  for (int m = 0; m < p.kCount; ++m) {
    p.v[m] = sees(seen, m) ? exp2_fast(p.v[m] * scale - most) : 0.0F;
    sum += p.v[m];
  }
  sum = group_sum(sum, kRowLanes, site);
  const float inverse = sum == 0 ? 0.0F : reciprocal_fast(sum);
  PRAXINO_UNROLL
  for (float& value : p.v) value *= inverse;
}

}  // namespace praxino::kernels::device
