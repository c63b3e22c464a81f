#include "kernels/frame_mask.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

namespace praxino::kernels {
namespace {

std::string text_of(const FrameMask& m) {
  return "tokens " + std::to_string(m.tokens) + " window " + std::to_string(m.window) + " sinks " +
         std::to_string(m.sinks) + " offset " + std::to_string(m.offset) + " queries " +
         std::to_string(m.queries) + " keys " + std::to_string(m.keys);
}

// The mask by the definition of the operation, nothing shared with the functions under test.
struct Brute {
  explicit Brute(const FrameMask& m) : mask(m) {
    const auto sees = [&m](int i, int j) {  // frames
      return j <= i && (m.window == 0 || i - j < m.window || j < m.sinks);
    };
    for (int q = 0; q < m.queries; ++q) {
      for (int k = 0; k < m.keys; ++k)
        seen.push_back(sees((q + m.offset) / m.tokens, k / m.tokens));
    }
  }
  bool sees(int q, int k) const {
    return q < mask.queries && k < mask.keys &&
           seen[static_cast<size_t>(q) * static_cast<size_t>(mask.keys) + static_cast<size_t>(k)];
  }
  bool any(const Range& q, const Range& k) const {
    for (int i = q.begin; i < q.end; ++i) {
      for (int j = k.begin; j < k.end; ++j) {
        if (sees(i, j)) return true;
      }
    }
    return false;
  }
  bool all(const Range& q, const Range& k) const {
    for (int i = q.begin; i < q.end; ++i) {
      for (int j = k.begin; j < k.end; ++j) {
        if (!sees(i, j)) return false;
      }
    }
    return true;
  }
  FrameMask mask;
  std::vector<bool> seen;
};

// Every function for one mask and one size of tiles. Tiles may begin anywhere.
void expect_as_defined(const FrameMask& m, int tile, int first) {
  SCOPED_TRACE(text_of(m) + " tile " + std::to_string(tile) + " first " + std::to_string(first));
  const Brute brute(m);
  for (int q = 0; q < m.queries; ++q) {
    for (int k = 0; k < m.keys; ++k) ASSERT_EQ(m.allowed(q, k), brute.sees(q, k)) << q << " " << k;
  }
  ASSERT_FALSE(m.allowed(m.queries, 0) || m.allowed(0, m.keys) || m.allowed(-1, 0) ||
               m.allowed(0, -1));
  for (int begin = first; begin < m.queries; begin += tile) {
    const Range queries{begin, begin + tile};
    const Ranges ranges = m.keys_of(queries);
    ASSERT_TRUE(ranges.sinks.size() == 0 || ranges.sinks.end < ranges.near.begin);
    ASSERT_GE(ranges.sinks.size(), 0);
    ASSERT_GE(ranges.near.size(), 0);
    ASSERT_EQ(ranges.size(), ranges.sinks.size() + ranges.near.size());
    for (int k = 0; k < m.keys + tile; ++k)
      ASSERT_EQ(ranges.has(k), brute.any(queries, {k, k + 1})) << begin << " " << k;
    const Ranges all = m.keys_of_all(queries);
    ASSERT_TRUE(all.sinks.size() == 0 || all.sinks.end < all.near.begin);
    const Range there{begin, smaller(begin + tile, m.queries)};
    for (int k = 0; k < m.keys + tile; ++k)
      ASSERT_EQ(all.has(k), brute.all(there, {k, k + 1})) << begin << " " << k;
    // The walk comes to every visible key once.
    std::vector<int> visits(static_cast<size_t>(m.keys));
    for (int i = 0; i < tiles_of(ranges, tile); ++i) {
      const Range keys = tile_of(ranges, i, tile);
      ASSERT_TRUE(keys.size() > 0 && keys.size() <= tile);
      for (int k = keys.begin; k < keys.end; ++k) ++visits.at(static_cast<size_t>(k));
      ASSERT_EQ(m.full(queries, keys), brute.all(queries, keys)) << begin << " " << keys.begin;
      ASSERT_EQ(all.covers(keys), brute.all(there, keys)) << begin << " " << keys.begin;
    }
    for (int k = 0; k < m.keys; ++k)
      ASSERT_EQ(visits[static_cast<size_t>(k)], brute.any(queries, {k, k + 1}) ? 1 : 0);
    for (int k = 0; k < m.keys; ++k) {
      const Range keys{k, k + tile};
      ASSERT_EQ(m.full(queries, keys), brute.all(queries, keys)) << begin << " " << k;
    }
  }
  for (int begin = first; begin < m.keys; begin += tile) {
    const Range keys{begin, begin + tile}, range = m.queries_of(keys);
    ASSERT_GE(range.size(), 0);
    for (int q = 0; q < m.queries + tile; ++q)
      ASSERT_EQ(range.has(q), brute.any({q, q + 1}, keys)) << begin << " " << q;
    const Range all = m.queries_of_all(keys), there{begin, smaller(begin + tile, m.keys)};
    ASSERT_GE(all.size(), 0);
    for (int q = 0; q < m.queries + tile; ++q)
      ASSERT_EQ(all.has(q), brute.all({q, q + 1}, there)) << begin << " " << q;
  }
}

TEST(FrameMask, EqualsTheDefinitionForEverySmallSize) {
  for (int tokens = 1; tokens <= 4; ++tokens) {
    for (int window = 0; window <= 3; ++window) {
      for (int sinks = 0; sinks <= (window == 0 ? 1 : 3); ++sinks) {
        for (const int keys : {1, 4, 9, 13}) {
          for (int offset = 0; offset <= keys && offset <= 9; offset += 3) {
            for (const int queries : {1, 3, keys - offset}) {
              if (queries < 1) continue;
              const FrameMask m{tokens, window, sinks, offset, queries, keys};
              for (const int tile : {1, 2, 4, 5}) expect_as_defined(m, tile, tile == 4 ? 1 : 0);
            }
          }
        }
      }
    }
    if (HasFatalFailure()) return;
  }
}

TEST(FrameMask, EqualsTheDefinitionForRandomSizes) {
  std::mt19937_64 random(7);
  const auto draw = [&](int from, int to) {
    return from + static_cast<int>(random() % static_cast<uint64_t>(to - from + 1));
  };
  for (int round = 0; round < 1500 && !HasFatalFailure(); ++round) {
    FrameMask m{.tokens = draw(1, 17), .window = draw(0, 6), .sinks = draw(0, 4)};
    m.keys = draw(1, 70);
    m.offset = draw(0, 1) == 0 ? 0 : draw(0, 70);
    m.queries = draw(1, 40);
    expect_as_defined(m, draw(1, 20), draw(0, 5));
  }
}

TEST(FrameMask, SpaceAttentionIsOneFrame) {
  const FrameMask m = frame_mask({.tokens = 37, .queries = 37, .keys = 37});
  EXPECT_TRUE(m.full({0, 37}, {0, 37}));
  EXPECT_FALSE(m.full({0, 38}, {0, 37}));
  EXPECT_EQ(m.queries_of({36, 40}).size(), 37);
  EXPECT_EQ(pairs_of(m), 37 * 37);
}

TEST(FrameMask, FewQueriesOverACacheSeeEveryKey) {
  const FrameMask m = frame_mask({.tokens = 70, .queries = 5, .keys = 70});
  for (int q = 0; q < 5; ++q) EXPECT_EQ(m.keys_of({q, q + 1}).size(), 70);
}

TEST(FrameMask, CutsOffWhatNoFrameReaches) {
  const FrameMask all =
      frame_mask({.tokens = 4, .window = INT64_MAX, .sinks = INT64_MAX, .queries = 12, .keys = 12});
  EXPECT_EQ(all.window, 0);
  EXPECT_EQ(all.sinks, 0);
  const FrameMask sunk =
      frame_mask({.tokens = 4, .window = 1, .sinks = INT64_MAX, .queries = 12, .keys = 12});
  EXPECT_TRUE(in_range(sunk));
  for (int q = 0; q < 12; ++q) EXPECT_EQ(sunk.keys_of({q, q + 1}).size(), (q / 4 + 1) * 4);
}

TEST(FrameMask, RefusesWhatDoesNotFit) {
  EXPECT_TRUE(in_range(frame_mask({.tokens = 1, .queries = kMostTokens, .keys = kMostTokens})));
  EXPECT_TRUE(in_range(frame_mask({.tokens = 5})));
  EXPECT_FALSE(in_range(frame_mask({.tokens = 0, .queries = 1, .keys = 1})));
  EXPECT_FALSE(in_range(frame_mask({.tokens = 1, .keys = kMostTokens + 1})));
  EXPECT_FALSE(in_range(frame_mask({.tokens = 1, .offset = 1, .queries = kMostTokens})));
  EXPECT_FALSE(in_range(frame_mask({.tokens = 1, .window = -1, .queries = 1, .keys = 1})));
  EXPECT_FALSE(in_range(frame_mask({.tokens = 1, .queries = -1, .keys = 1})));
  EXPECT_FALSE(in_range(FrameMask{.tokens = 1 << 20, .window = 1 << 20, .queries = 1, .keys = 1}));
}

TEST(FrameMask, CountsPairs) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    const FrameMask m{.tokens = 1 + static_cast<int>(random() % 7),
                      .window = static_cast<int>(random() % 4),
                      .sinks = static_cast<int>(random() % 3),
                      .offset = static_cast<int>(random() % 9),
                      .queries = static_cast<int>(random() % 30),
                      .keys = static_cast<int>(random() % 40)};
    int64_t pairs = 0;
    for (const bool seen : Brute(m).seen) pairs += seen ? 1 : 0;
    ASSERT_EQ(pairs_of(m), pairs) << text_of(m);
  }
}

TEST(TileOrder, ComesToEveryTileOfEveryProblemOnce) {
  for (const int64_t problems : {1, 2, 5, 7}) {
    for (const int64_t tiles : {1, 3, 4}) {
      for (const int64_t group : {1, 2, 3, 100}) {
        for (const bool last : {false, true}) {
          const TileOrder order{problems, tiles, group, last};
          std::set<std::pair<int64_t, int64_t>> seen;
          int64_t before = -1, group_before = 0;
          for (int64_t block = 0; block < order.blocks(); ++block) {
            const TileOrder::Unit unit = order.unit(block);
            ASSERT_TRUE(unit.problem >= 0 && unit.problem < problems);
            ASSERT_TRUE(unit.tile >= 0 && unit.tile < tiles);
            seen.insert({unit.problem, unit.tile});
            const int64_t rank = last ? tiles - 1 - unit.tile : unit.tile;
            if (unit.problem / group != group_before) before = -1;
            ASSERT_GE(unit.problem / group, group_before);  // group by group
            ASSERT_GE(rank, before);                        // longest first
            group_before = unit.problem / group;
            before = rank;
          }
          ASSERT_EQ(static_cast<int64_t>(seen.size()), problems * tiles);
        }
      }
    }
  }
}

TEST(TileRounds, GiveEveryTileToOneBlock) {
  for (int64_t units = 1; units < 40; ++units) {
    for (const int64_t span : {1, 3, 4, 8, 13, 40, 100}) {
      for (const int64_t blocks : {1, 2, 3, 7, 16}) {
        const TileRounds rounds{.units = units, .span = span, .blocks = blocks};
        std::vector<int> taken(static_cast<size_t>(units));
        for (uint32_t round = 0; round < rounds.rounds(); ++round) {
          int64_t span_of_round = -1;
          for (int64_t block = 0; block < blocks; ++block) {
            const int64_t unit = rounds.unit(block, round);
            if (unit == -1) continue;
            ++taken.at(static_cast<size_t>(unit));
            ASSERT_TRUE(span_of_round == -1 || span_of_round == unit / span);
            span_of_round = unit / span;
          }
          ASSERT_NE(span_of_round, -1);  // a round of nothing
        }
        for (const int count : taken) ASSERT_EQ(count, 1);
      }
    }
  }
}

// Tiles that shrink one by one: blocks do equal work, but for a tile of the middle.
TEST(TileRounds, GiveEveryBlockItsShareOfLongTiles) {
  constexpr int64_t kUnits = 48, kBlocks = 4;
  const TileRounds rounds{.units = kUnits, .span = kUnits, .blocks = kBlocks};
  for (int64_t block = 0; block < kBlocks; ++block) {
    int64_t work = 0;
    for (uint32_t round = 0; round < rounds.rounds(); ++round)
      work += kUnits - rounds.unit(block, round);
    EXPECT_EQ(work, kUnits * (kUnits + 1) / 2 / kBlocks);
  }
}

static_assert(problems_in_cache(int64_t{16} << 20) == 1 && problems_in_cache(0) > 0 &&
              problems_in_cache(int64_t{1} << 40) == 1 && problems_in_cache(1 << 20) == 20);

}  // namespace
}  // namespace praxino::kernels
