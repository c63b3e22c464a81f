#pragma once
// What both passes of attention along time do with a warp's 16 rows of bfloat16
// (kernels/time_tiles.h): bring them in, normalize and rotate, exchange with the team, multiply,
// bring them out.

#include "kernels/device/mma.cuh"
#include "kernels/device/time_walk.cuh"
namespace praxino::kernels::device {

/// A warp's tile of 16 rows as operand of products, two rows a lane: words as time_column() says.
template <int kWidth>
struct TimeRows {
  uint32_t word[2][kWidth / 8];
};
/// The same as results: element i of word w, row r is [w].v[2 r + i].
template <int kWidth>
using TimeResult = FragmentC[kWidth / 8];

template <int kWidth>
PRAXINO_DEVICE TimeRows<kWidth> rounded(const TimeResult<kWidth>& from) {
  TimeRows<kWidth> rows;
  PRAXINO_UNROLL
  for (int w = 0; w < kWidth / 8; ++w) {
    PRAXINO_UNROLL
    for (int r = 0; r < 2; ++r) rows.word[r][w] = pack_bf16(from[w].v[2 * r], from[w].v[2 * r + 1]);
  }
  return rows;
}

/// Where a lane's two rows lie in memory: 8 frames apart. Those past the last frame are not there.
struct TimeSpot {
  bool there[2];
  int token[2];     // of B T N
  int position[2];  // of T N: rows of the tables; some other one for rows that are not there
  int head;         // of keys and values
};
PRAXINO_DEVICE TimeSpot time_spot(const TimeShape& shape, const TimeTeam& team,
                                  const TimeCursor& at) {
  const int frame = kTimeTile * team.tile + time_row(lane_index());
  const int frames = static_cast<int>(shape.frames), places = static_cast<int>(shape.places);
  TimeSpot spot;
  spot.head = at.head;
  PRAXINO_UNROLL
  for (int r = 0; r < 2; ++r) {
    spot.there[r] = frame + 8 * r < frames;
    spot.token[r] = at.token + (frame + 8 * r) * places;
    spot.position[r] = (spot.there[r] ? frame + 8 * r : 0) * places + at.place;
  }
  return spot;
}

/// The first of the lane's elements in row r.
template <int kWidth>
PRAXINO_DEVICE int64_t time_offset(const TimeSpot& spot, const TimeHeads& heads, int r) {
  const int in_token = heads.head * kWidth + time_column(lane_index(), 0);
  return multiply_wide(spot.token[r], heads.token) + in_token;
}

/// Rows that are not there are zeros.
template <int kWidth>
PRAXINO_DEVICE TimeRows<kWidth> load_rows(const Bf16* from, const TimeSpot& spot,
                                          const TimeHeads& heads, Site site = PRAXINO_HERE) {
  TimeRows<kWidth> rows = {};
  PRAXINO_UNROLL
  for (int r = 0; r < 2; ++r) {
    if (!spot.there[r]) continue;
    const Bf16* row = from + time_offset<kWidth>(spot, heads, r);
    PRAXINO_UNROLL
    for (int h = 0; h < kWidth / 32; ++h) {
      const Words words = load_words(row + 32 * h, site);
      PRAXINO_UNROLL
      for (int w = 0; w < 4; ++w) rows.word[r][4 * h + w] = words.word[w];
    }
  }
  return rows;
}

template <int kWidth>
PRAXINO_DEVICE void store_rows(const TimeRows<kWidth>& rows, Bf16* to, const TimeSpot& spot,
                               const TimeHeads& heads, Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int r = 0; r < 2; ++r) {
    if (!spot.there[r]) continue;
    Bf16* row = to + time_offset<kWidth>(spot, heads, r);
    PRAXINO_UNROLL
    for (int h = 0; h < kWidth / 32; ++h) {
      const uint32_t* w = rows.word[r] + 4 * h;
      store_words(row + 32 * h, Words{{w[0], w[1], w[2], w[3]}}, site);
    }
  }
}

/// 8 neighbours of a row: words 4 h .. 4 h + 3.
PRAXINO_DEVICE Vector<8> unpack_chunk(const uint32_t* word) {
  Vector<8> to;
  PRAXINO_UNROLL
  for (int w = 0; w < 4; ++w) {
    const Vector<2> two = unpack_bf16(word[w]);
    to.v[2 * w] = two.v[0];
    to.v[2 * w + 1] = two.v[1];
  }
  return to;
}
PRAXINO_DEVICE void pack_chunk(uint32_t* word, const Vector<8>& from) {
  PRAXINO_UNROLL
  for (int w = 0; w < 4; ++w) word[w] = pack_bf16(from.v[2 * w], from.v[2 * w + 1]);
}

/// Words 2 step, 2 step + 1 as the left operand of a product that contracts over the width.
template <int kWidth>
PRAXINO_DEVICE FragmentA left_operand(const TimeRows<kWidth>& rows, int step) {
  const uint32_t *first = rows.word[0] + 2 * step, *second = rows.word[1] + 2 * step;
  return {{first[0], second[0], first[1], second[1]}};
}

/// 1 / RMS of a lane's two rows: sums of squares are what the rows times themselves have on the
/// diagonal, which takes a quarter of the instructions that sums over lanes take.
struct TimeScale {
  float of[2];
};
template <int kWidth>
PRAXINO_DEVICE TimeScale inverse_rms(const TimeRows<kWidth>& rows, Site site = PRAXINO_HERE) {
  FragmentC squares[2] = {};  // columns are rows 0 .. 7, rows 8 .. 15
  PRAXINO_UNROLL
  for (int step = 0; step < kWidth / 16; ++step) {
    const FragmentA a = left_operand(rows, step);
    multiply_add(squares[0], a, {{a.word[0], a.word[2]}}, site);
    multiply_add(squares[1], a, {{a.word[1], a.word[3]}}, site);
  }
  const int row = time_row(lane_index()), holder = 4 * row + row / 2;
  TimeScale scale;
  PRAXINO_UNROLL
  for (int r = 0; r < 2; ++r) {
    const float own = row % 2 == 0 ? squares[r].v[2 * r] : squares[r].v[2 * r + 1];
    scale.of[r] = device::inverse_rms(shuffle(own, holder, kFullWarp, site), kWidth);
  }
  return scale;
}

/// What a lane needs of the norm for words 4 h .. 4 h + 3 and those half a row on.
template <int kWidth>
PRAXINO_DEVICE TimeGains<8> load_gains(const TimeNorm& norm, int h, Site site = PRAXINO_HERE) {
  return load_gains<kWidth, 8>(norm, time_column(lane_index(), 4 * h), site);
}
template <int kWidth>
PRAXINO_DEVICE TimeAngles<8> load_angles(const TimeNorm& norm, int position, int h,
                                         Site site = PRAXINO_HERE) {
  return load_angles_at<kWidth, 8>(norm, position, time_column(lane_index(), 4 * h), site);
}

/// Words 4 h .. of row r, and those half a row on.
template <int kWidth>
PRAXINO_DEVICE void norm_rotate_chunk(TimeRows<kWidth>& rows, int r, int h, float scale,
                                      const TimeGains<8>& gains, const TimeAngles<8>& angles) {
  uint32_t *word1 = rows.word[r] + 4 * h, *word2 = word1 + kWidth / 16;
  Vector<8> x1 = unpack_chunk(word1), x2 = unpack_chunk(word2);
  norm_rotate_pair(x1, x2, scale, gains, angles);
  pack_chunk(word1, x1);
  pack_chunk(word2, x2);
}

/// RMSNorm with gain and rotation; zeros stay zeros. `scale`: inverse_rms(rows).
template <int kWidth>
PRAXINO_DEVICE void norm_rotate(TimeRows<kWidth>& rows, const TimeScale& scale,
                                const TimeNorm& norm, const TimeSpot& spot,
                                Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int h = 0; h < kWidth / 64; ++h) {
    const TimeGains<8> gains = load_gains<kWidth>(norm, h, site);
    PRAXINO_UNROLL
    for (int r = 0; r < 2; ++r) {
      norm_rotate_chunk(rows, r, h, scale.of[r], gains,
                        load_angles<kWidth>(norm, spot.position[r], h, site));
    }
  }
}

/// Writes the warp's tile of an image; `image`: of the warp's own tile.
template <int kWidth>
PRAXINO_DEVICE void store_image(Bf16* image, const TimeRows<kWidth>& rows,
                                Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int w = 0; w < kWidth / 8; ++w) {
    PRAXINO_UNROLL
    for (int r = 0; r < 2; ++r)
      store_word(image + image_element(lane_index(), w, r, kWidth), rows.word[r][w], site);
  }
}

/// Four words of a 16 x 16 part of an image, from row `row` and column `column`. `spot`: what each
/// lane points at, matrix_row_of_a or matrix_row_of_b of kernels/fragments.h.
template <bool kTransposed>
PRAXINO_DEVICE Pairs<4> load_part(const Bf16* image, int columns, int row, int column,
                                  const FragmentSpot& spot, Site site = PRAXINO_HERE) {
  return load_matrices<4, kTransposed>(
      image + (row + spot.row) * image_stride(columns) + column + spot.column, site);
}

/// c[0], c[1] += a b, where b holds two operands of 16 x 8.
PRAXINO_DEVICE void multiply_add_two(FragmentC* c, const FragmentA& a, const Pairs<4>& b,
                                     Site site = PRAXINO_HERE) {
  multiply_add(c[0], a, {{b.word[0], b.word[1]}}, site);
  multiply_add(c[1], a, {{b.word[2], b.word[3]}}, site);
}

/// The same from the warp's tile of an image, where registers are short.
template <int kWidth>
PRAXINO_DEVICE FragmentA left_operand(const Bf16* image, int step, Site site = PRAXINO_HERE) {
  return load_part<false>(image, kWidth, 0, 16 * step, matrix_row_of_a(lane_index()), site);
}

/// 16 rows against all frames of a sequence of up to kTiles tiles.
template <int kTiles>
using TimeScores = FragmentC[2 * kTiles];

/// result += a right, for the 16 rows of the image `right` from `row`: the contraction.
template <int kWidth>
PRAXINO_DEVICE void multiply_columns(TimeResult<kWidth>& result, const FragmentA& a,
                                     const Bf16* right, int row, Site site = PRAXINO_HERE) {
  const FragmentSpot by_a = matrix_row_of_a(lane_index());
  PRAXINO_UNROLL
  for (int w = 0; w < kWidth / 8; w += 2) {
    multiply_add_two(result + w, a, load_part<true>(right, kWidth, row, 8 * w, by_a, site), site);
  }
}

/// Two neighbouring results as the operand of the next product.
PRAXINO_DEVICE FragmentA as_operand(const FragmentC* c) {
  return {{pack_bf16(c[0].v[0], c[0].v[1]), pack_bf16(c[0].v[2], c[0].v[3]),
           pack_bf16(c[1].v[0], c[1].v[1]), pack_bf16(c[1].v[2], c[1].v[3])}};
}

/// Of a lane's scores as products leave them.
PRAXINO_DEVICE TimeMask fragment_mask(const TimeShape& shape, int query) {
  return {shape, query, [&](int number) {
            const FragmentSpot spot = fragment_c(lane_index(), number % 4);
            return shape.sees(kTimeTile * query + spot.row, number / 4 * 8 + spot.column);
          }};
}

/// Scores of 16 queries become probabilities, or zero where a frame does not see the other.
template <int kWidth, int kPieces>
PRAXINO_DEVICE void softmax(FragmentC (&scores)[kPieces], const TimeMask& mask,
                            Site site = PRAXINO_HERE) {
  constexpr float kNone = -3.0e38F;  // finite: no row is without its own frame
  const float scale = 1.44269504F * rsqrt_fast(static_cast<float>(kWidth));
  float most[2] = {kNone, kNone}, sum[2] = {};
  PRAXINO_UNROLL
  for (int c = 0; c < kPieces; ++c) {
    if (!mask.sees_tile(c / 2)) continue;
    PRAXINO_UNROLL
    for (int i = 0; i < 4; ++i) {
      float& score = scores[c].v[i];
      if ((mask.scores & 1U << (4 * c + i)) == 0) score = kNone;
      most[i / 2] = maximum_number(most[i / 2], score);
    }
  }
  PRAXINO_UNROLL
  for (int r = 0; r < 2; ++r) most[r] = scale * group_max(most[r], 4, site);
  PRAXINO_UNROLL
  for (int c = 0; c < kPieces; ++c) {
    if (!mask.sees_tile(c / 2)) continue;
    PRAXINO_UNROLL
    for (int i = 0; i < 4; ++i) {
      scores[c].v[i] = exp2_fast(scores[c].v[i] * scale - most[i / 2]);
      sum[i / 2] += scores[c].v[i];
    }
  }
  PRAXINO_UNROLL
  for (int r = 0; r < 2; ++r) sum[r] = reciprocal_fast(group_sum(sum[r], 4, site));
  PRAXINO_UNROLL
  for (int c = 0; c < kPieces; ++c) {
    if (!mask.sees_tile(c / 2)) continue;
    PRAXINO_UNROLL
    for (int i = 0; i < 4; ++i) scores[c].v[i] *= sum[i / 2];
  }
}

/// scores = left right^T over the width, for those 16-row tiles of the image `right` that the
/// queries see; zeros for others.
template <int kWidth, int kPieces, class Left>
PRAXINO_DEVICE void multiply_rows(FragmentC (&scores)[kPieces], const Left& left, const Bf16* right,
                                  const TimeMask& mask, Site site = PRAXINO_HERE) {
  const FragmentSpot by_b = matrix_row_of_b(lane_index());
  PRAXINO_UNROLL
  for (int tile = 0; tile < kPieces / 2; ++tile) {
    // Zeros where nothing is seen, too: else their registers would be taken all the while.
    scores[2 * tile] = scores[2 * tile + 1] = {};
    if (!mask.sees_tile(tile)) continue;
    PRAXINO_UNROLL
    for (int w = 0; w < kWidth / 8; w += 2) {
      multiply_add_two(scores + 2 * tile, left_operand<kWidth>(left, w / 2),
                       load_part<false>(right, kWidth, kTimeTile * tile, 8 * w, by_b, site), site);
    }
  }
}

}  // namespace praxino::kernels::device
