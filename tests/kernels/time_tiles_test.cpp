// How attention along time is cut up, against what each function promises.
#include "kernels/time_tiles.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace praxino::kernels {
namespace {

constexpr size_t kHopper = 227 * 1024, kAmpere = 163 * 1024, kSmall = 99 * 1024;

TEST(TimeTiles, KnowWhichTilesSeeEachOther) {
  for (int64_t window = 0; window <= 66; ++window) {
    for (int64_t sinks = 0; sinks <= 34; ++sinks) {
      const TimeShape s{.frames = 64, .width = 64, .window = window, .sinks = sinks};
      for (int query = 0; query < kMostTimeTiles; ++query) {
        for (int key = 0; key < kMostTimeTiles; ++key) {
          int seen = 0;
          for (int i = 16 * query; i < 16 * query + 16; ++i) {
            for (int j = 16 * key; j < 16 * key + 16; ++j) {
              const bool near = window == 0 || i - j < window || j < sinks;
              ASSERT_EQ(s.sees(i, j), j <= i && near);
              seen += s.sees(i, j) ? 1 : 0;
            }
          }
          ASSERT_EQ(s.sees_any(query, key), seen > 0) << window << " " << sinks;
        }
      }
    }
  }
}

TEST(TimeTiles, HoldEachChunkOnceInDifferentBanks) {
  for (const int width : {64, 128}) {
    std::set<int> elements;
    for (int row = 0; row < 32; ++row) {
      for (int chunk = 0; chunk < width / 8; ++chunk)
        elements.insert(tile_element(row, chunk, width));
    }
    EXPECT_EQ(elements.size(), static_cast<size_t>(4 * width));
    EXPECT_EQ(*elements.rbegin(), 32 * width - 8);
    // What load_matrices() reads at once: a chunk of eight rows; 128 bytes pass in one go.
    for (int chunk = 0; chunk < width / 8; ++chunk) {
      std::set<int> banks;
      for (int row = 8; row < 16; ++row) banks.insert(tile_element(row, chunk, width) / 8 % 8);
      EXPECT_EQ(banks.size(), 8U);
    }
    // What eight lanes that normalize read at once.
    for (int lane = 0; lane < 256; lane += 8) {
      std::set<int> banks;
      for (int i = lane; i < lane + 8; ++i)
        banks.insert(tile_element(row_of_team(i / 4), i % 4, width) / 8 % 8);
      EXPECT_EQ(banks.size(), 8U);
    }
  }
}

TEST(TimeTiles, NormalizeEveryRowOnce) {
  std::set<int> rows;
  for (int team = 0; team < 128; ++team) rows.insert(row_of_team(team));
  EXPECT_EQ(rows.size(), 128U);
  EXPECT_EQ(*rows.rbegin(), 127);
}

TEST(TimeTiles, SumEveryColumnInOneLane) {
  for (const int width : {64, 128}) {
    std::set<int> columns;
    for (int lane = 0; lane < 32; ++lane) {
      for (int step = 0; step < width / 32; ++step)
        columns.insert(column_of_sum(lane, step, width));
    }
    EXPECT_EQ(columns.size(), static_cast<size_t>(width));
    EXPECT_EQ(*columns.rbegin(), width - 1);
  }
}

TEST(TimeTiles, PlansCoverEverySequenceOnce) {
  for (const int64_t width : {64, 128}) {
    for (int64_t frames = 1; frames <= kMostFrames; frames += 5) {
      for (int64_t places = 0; places < 300; places += 23) {
        const TimeShape s{.batch = 3,
                          .places = places,
                          .kv_heads = 2,
                          .group = 1,
                          .frames = frames,
                          .width = width};
        const TimePlan plan = time_plan(s, kBackwardTiles, kHopper);
        ASSERT_GE(plan.sequences, 1);
        ASSERT_LE(plan.sequences * plan.tiles, plan.warps);
        ASSERT_GE(int64_t{plan.units} * plan.sequences, s.sequences());
        ASSERT_LT(int64_t{plan.units - 1} * plan.sequences, s.sequences());
        std::vector<int> units(static_cast<size_t>(3 * plan.units));
        for (int chunk = 0; chunk < 3 * plan.chunks; ++chunk) {
          const TimeItem item = first_of_chunk(plan, chunk);
          ASSERT_LE(item.end - item.unit, plan.chunk);
          for (int unit = item.unit; unit < item.end; ++unit) {
            ++units[static_cast<size_t>(unit)];
            ASSERT_EQ(unit / plan.units, chunk / plan.chunks);  // of one batch row
          }
        }
        ASSERT_EQ(units, std::vector<int>(units.size(), 1));
      }
    }
  }
}

TEST(TimeTiles, RowsAreFramesOfSequences) {
  for (int tiles = 1; tiles <= kMostTimeTiles; ++tiles) {
    std::set<std::pair<int, int>> seen;
    for (int row = 0; row < 128; ++row) {
      const TimeRow at = time_row(row, tiles);
      ASSERT_TRUE(at.frame >= 0 && at.frame < 16 * tiles);
      seen.insert({at.sequence, at.frame});
    }
    EXPECT_EQ(seen.size(), 128U);
  }
}

TEST(TimeTiles, PlansFitTheSharedMemoryOfTheChip) {
  TimeShape s{.batch = 1, .places = 1, .kv_heads = 1, .group = 1, .frames = 64, .width = 64};
  const auto plan = [&](const TimeTiles& tiles, size_t limit) {
    return time_plan(s, tiles, limit);
  };
  EXPECT_EQ(plan(kForwardTiles, kSmall).stages, 2);
  EXPECT_EQ(plan(kForwardTiles, kSmall).warps, 8);
  EXPECT_LE(2 * plan(kForwardTiles, kHopper).shared_bytes, kHopper);  // two blocks at once
  EXPECT_EQ(plan(kBackwardTiles, kHopper).stages, 2);
  EXPECT_EQ(plan(kBackwardTiles, kHopper).warps, 8);
  EXPECT_EQ(plan(kBackwardTiles, kAmpere).stages, 1);
  EXPECT_EQ(plan(kBackwardTiles, kSmall).warps, 4);
  s.width = 128;
  EXPECT_EQ(plan(kForwardTiles, kSmall).stages, 2);
  EXPECT_EQ(plan(kBackwardTiles, kHopper).stages, 2);
  EXPECT_EQ(plan(kBackwardTiles, kAmpere).stages, 1);
  EXPECT_EQ(plan(kBackwardTiles, kSmall).warps, 0);  // refused
  s.group = 4;
  EXPECT_EQ(plan(kBackwardTiles, kHopper).stages, 1);
  s.frames = 32;
  EXPECT_EQ(plan(kBackwardTiles, kSmall).warps, 2);
  EXPECT_EQ(plan(kForwardTiles, 1024).warps, 0);
}

TEST(TimeTiles, RefuseSizesThatTheirArithmeticDoesNotHold) {
  const TimeShape s{.batch = 1, .places = 1, .kv_heads = 1, .group = 1, .frames = 64, .width = 64};
  EXPECT_TRUE(in_range(s));
  const auto with = [&](int64_t TimeShape::*member, int64_t value) {
    TimeShape changed = s;
    changed.*member = value;
    return in_range(changed);
  };
  EXPECT_TRUE(with(&TimeShape::places, 1 << 20));
  EXPECT_FALSE(with(&TimeShape::places, INT32_MAX / 64 + 1));
  EXPECT_TRUE(with(&TimeShape::batch, INT32_MAX));
  EXPECT_FALSE(with(&TimeShape::batch, int64_t{INT32_MAX} + 1));
  EXPECT_FALSE(with(&TimeShape::frames, 65));
  EXPECT_FALSE(with(&TimeShape::frames, -1));
  EXPECT_FALSE(with(&TimeShape::width, 32));
  EXPECT_FALSE(with(&TimeShape::group, 0));
  EXPECT_FALSE(with(&TimeShape::kv_heads, int64_t{1} << 40));
  EXPECT_FALSE(with(&TimeShape::window, -1));
  EXPECT_FALSE(with(&TimeShape::sinks, -1));
}

}  // namespace
}  // namespace praxino::kernels
