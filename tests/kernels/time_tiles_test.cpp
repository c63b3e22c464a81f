// How attention along time is cut up, against what each function promises.
#include "kernels/time_tiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
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

// Every element of a tile in one lane, elements half a row apart in the same.
TEST(TimeTiles, GiveEveryElementToOneLane) {
  for (const int width : {64, 128}) {
    std::set<std::pair<int, int>> seen;
    for (int lane = 0; lane < 32; ++lane) {
      for (int word = 0; word < width / 8; ++word) {
        for (int second = 0; second < 2; ++second) {
          for (int i = 0; i < 2; ++i)
            seen.insert({time_row(lane) + 8 * second, time_column(lane, word) + i});
        }
        if (word < width / 16) {
          EXPECT_EQ(time_column(lane, word + width / 16), time_column(lane, word) + width / 2);
        }
        // 16 bytes lie together.
        EXPECT_EQ(time_column(lane, word), time_column(lane, word / 4 * 4) + 2 * (word % 4));
      }
    }
    EXPECT_EQ(seen.size(), static_cast<size_t>(16 * width));
    EXPECT_EQ(*seen.rbegin(), std::pair(15, width - 1));
  }
}

// Images of operands and of scores: each word has a place of its own, the words that a warp writes
// or reads at once lie in different banks.
TEST(TimeTiles, HoldEachWordOfAnImageOnceInDifferentBanks) {
  for (const int columns : {16, 32, 48, 64, 128}) {
    std::set<int> elements;
    for (int word = 0; word < columns / 8; ++word) {
      for (int second = 0; second < 2; ++second) {
        std::set<int> banks;
        for (int lane = 0; lane < 32; ++lane) {
          const int element = image_element(lane, word, second, columns);
          EXPECT_EQ(element / image_stride(columns), time_row(lane) + 8 * second);
          elements.insert(element);
          banks.insert(element / 2 % 32);
        }
        EXPECT_EQ(banks.size(), 32U);
      }
    }
    EXPECT_EQ(elements.size(), static_cast<size_t>(8 * columns));
    EXPECT_LT(*elements.rbegin(), image_size(columns));
    // What load_matrices() reads at once: 16 bytes of eight rows; 128 bytes pass in one go.
    std::set<int> banks;
    for (int row = 0; row < 8; ++row) banks.insert(row * image_stride(columns) / 8 % 8);
    EXPECT_EQ(banks.size(), 8U);
    EXPECT_EQ(image_stride(columns) % 8, 0);
  }
}

TEST(TimeTiles, SumEveryColumnInOneLane) {
  for (const int width : {64, 128}) {
    std::set<int> columns;
    for (int lane = 0; lane < 32; ++lane) {
      for (int step = 0; step < width / 32; ++step) columns.insert(column_of_sum(lane, step));
    }
    EXPECT_EQ(columns.size(), static_cast<size_t>(width));
    EXPECT_EQ(*columns.rbegin(), width - 1);
  }
}

// In float: every element of a tile in one lane, those half a row apart in the same; 16 bytes lie
// together, and eight lanes read 128 bytes side by side.
TEST(TimeTiles, GiveEveryFloatToOneLane) {
  for (const int width : {64, 128}) {
    std::set<std::pair<int, int>> seen;
    for (int lane = 0; lane < 32; ++lane) {
      for (int element = 0; element < width / kRowLanes; ++element) {
        for (int r = 0; r < kLaneRows; ++r)
          seen.insert({lane_row(lane, r), lane_column(lane, element)});
        const int first = element / 4 * 4;
        EXPECT_EQ(lane_column(lane, element), lane_column(lane, first) + element - first);
        EXPECT_EQ(lane_column(lane, first), lane_column(lane / 8 * 8, first) + 4 * (lane % 8));
        if (element < width / 16) {
          EXPECT_EQ(lane_column(lane, element + width / 16),
                    lane_column(lane, element) + width / 2);
        }
      }
    }
    EXPECT_EQ(seen.size(), static_cast<size_t>(16 * width));
    EXPECT_EQ(*seen.rbegin(), std::pair(15, width - 1));
    std::set<int> sums;
    for (int lane = 0; lane < 32; ++lane) {
      for (int piece = 0; piece < width / 32; ++piece) {
        const int column = column_of_lane_sum(lane, piece);
        EXPECT_EQ(column / 4, lane_column(lane, 4 * piece) / 4);
        sums.insert(column);
      }
    }
    EXPECT_EQ(sums.size(), static_cast<size_t>(width));
    EXPECT_EQ(*sums.rbegin(), width - 1);
  }
}

// Scores in float: each is written by one lane, looked at by one that has its row, and what a warp
// writes or reads at once lies in different banks.
TEST(TimeTiles, HoldEachScoreOnceInDifferentBanks) {
  std::set<std::pair<int, int>> written, looked_at;
  for (int lane = 0; lane < 32; ++lane) {
    const FragmentSpot spot = score_of_lane(lane);
    EXPECT_EQ(spot.row / kLaneRows, lane / kRowLanes);
    written.insert({spot.row, spot.column});
    for (int number = 0; number < 32; ++number) {
      const FragmentSpot score = softmax_score(lane, number);
      EXPECT_EQ(score.row, lane_row(lane, number % kLaneRows));
      looked_at.insert({score.row, score.column});
    }
  }
  EXPECT_EQ(written.size(), 32U);
  EXPECT_EQ(*written.rbegin(), std::pair(15, 1));
  EXPECT_EQ(looked_at.size(), static_cast<size_t>(16 * kMostFrames));
  EXPECT_EQ(*looked_at.rbegin(), std::pair(15, kMostFrames - 1));
  for (const int columns : {16, 32, 48, 64}) {
    const int stride = score_stride(columns);
    EXPECT_EQ(stride % 2, 0);  // pairs are read
    const auto banks = [&](auto&& spot_of) {
      std::set<int> all;
      for (int lane = 0; lane < 32; ++lane) {
        const FragmentSpot spot = spot_of(lane);
        all.insert((spot.row * stride + spot.column) % 32);
      }
      return all.size();
    };
    EXPECT_EQ(banks(score_of_lane), 32U);
    for (int number = 0; number < columns / 2; ++number)
      EXPECT_EQ(banks([&](int lane) { return softmax_score(lane, number); }), 32U);
    // Weights: the lanes of a row read the same pair; along the row, across it.
    for (int r = 0; r < kLaneRows; ++r) {
      EXPECT_EQ(banks([&](int lane) { return FragmentSpot{lane_row(lane, r), 0}; }), 4U);
      EXPECT_EQ(banks([&](int lane) { return FragmentSpot{0, lane_row(lane, r)}; }), 4U);
    }
  }
}

TEST(TimeTiles, TakeRowsInPairs) {
  for (int64_t frames = 1; frames <= kMostFrames; ++frames) {
    const TimeShape s{.frames = frames, .width = 64};
    for (int tile = 0; tile < s.tiles(); ++tile) {
      const int64_t left = std::min<int64_t>(frames - 16 * tile, 16), rows = paired_rows(s, tile);
      EXPECT_TRUE(rows % 2 == 0 && rows >= left && rows - left < 2) << frames << " " << tile;
    }
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
        const TimePlan plan = time_plan(s, kBackwardTiles, {kHopper, 7});
        ASSERT_GE(plan.teams, 1);
        ASSERT_EQ(plan.teams * plan.tiles, plan.warps);
        ASSERT_LE(plan.warps, kBackwardTiles.most_warps(width));
        ASSERT_TRUE(plan.blocks >= 1 && plan.blocks <= 7);
        std::vector<int> taken(static_cast<size_t>(s.all_sequences()));
        for (int block = 0; block < plan.blocks; ++block) {
          const TimeRun run = time_run(s, plan, block);
          ASSERT_LE((run.end - run.first) * plan.blocks, s.all_sequences() + plan.blocks - 1);
          for (int i = run.first; i < run.end; ++i) ++taken[static_cast<size_t>(i)];
        }
        ASSERT_EQ(taken, std::vector<int>(taken.size(), 1));
        ASSERT_EQ(chunks_of_frame(time_sums(s, plan)), plan.blocks * plan.teams);
      }
    }
  }
  const TimeShape many{
      .batch = 2, .places = 5000, .kv_heads = 3, .group = 1, .frames = 2, .width = 64};
  for (const int multiprocessors : {132, 148, 224, 400}) {
    const TimePlan plan = time_plan(many, kBackwardTiles, {kHopper, multiprocessors});
    EXPECT_EQ(plan.blocks, std::min(multiprocessors, kMostTimeBlocks));
    EXPECT_EQ(chunks_of_frame(time_sums(many, plan)), plan.blocks * 12);
  }
}

TEST(TimeTiles, CursorsWalkOverSequences) {
  for (int64_t places = 1; places <= 5; ++places) {
    for (int64_t heads = 1; heads <= 5; ++heads) {
      const TimeShape s{
          .batch = 4, .places = places, .kv_heads = heads, .group = 1, .frames = 3, .width = 64};
      const auto all = static_cast<int>(s.all_sequences());
      for (int by = 1; by <= 16; ++by) {
        TimeCursor at = time_cursor(s, 0);
        for (int i = 0; i < all; i += by) {
          const TimeCursor want = time_cursor(s, i);
          ASSERT_TRUE(at.token == want.token && at.place == want.place && at.head == want.head);
          const int row = i / static_cast<int>(heads);
          ASSERT_EQ(at.head, i % heads);
          ASSERT_EQ(at.place, row % places);
          ASSERT_EQ(at.token, row / places * 3 * places + row % places);
          advance(at, time_step(s, by), s);
        }
      }
    }
  }
}

TEST(TimeTiles, PlansFitTheSharedMemoryOfTheChip) {
  TimeShape s{.batch = 9, .places = 99, .kv_heads = 9, .group = 1, .frames = 64, .width = 64};
  const auto warps = [&](const TimeTiles& tiles, size_t limit) {
    const TimePlan plan = time_plan(s, tiles, {limit, 132});
    EXPECT_LE(plan.shared_bytes, limit);
    return plan.warps;
  };
  EXPECT_EQ(warps(kForwardTiles, kSmall), 16);
  EXPECT_EQ(warps(kBackwardTiles, kHopper), 12);
  EXPECT_EQ(warps(kBackwardTiles, kAmpere), 8);
  EXPECT_EQ(warps(kBackwardTiles, kSmall), 4);
  s.width = 128;
  EXPECT_EQ(warps(kForwardTiles, kSmall), 8);
  EXPECT_EQ(warps(kBackwardTiles, kHopper), 8);
  EXPECT_EQ(warps(kBackwardTiles, kAmpere), 4);
  EXPECT_EQ(warps(kBackwardTiles, kSmall), 0);  // refused
  s.group = 4;
  EXPECT_EQ(warps(kBackwardTiles, kHopper), 4);
  s.frames = 32;
  EXPECT_EQ(warps(kBackwardTiles, kHopper), 4);
  EXPECT_EQ(warps(kBackwardTiles, kSmall), 2);
  EXPECT_EQ(warps(kForwardTiles, 1024), 0);
}

TEST(TimeTiles, PlansForFloatFitTheSharedMemoryOfTheChip) {
  for (const auto& [width, frames, limit, forward, backward] :
       {std::array<size_t, 5>{64, 16, kHopper, 16, 12},
        {64, 64, kHopper, 16, 8},
        {64, 64, kAmpere, 12, 4},
        {64, 16, kSmall, 10, 5},
        {64, 64, kSmall, 8, 4},
        {128, 16, kHopper, 12, 6},
        {128, 64, kHopper, 8, 4},
        {128, 64, kAmpere, 8, 4},
        {128, 32, kSmall, 4, 2},
        {128, 64, kSmall, 4, 0}}) {
    const TimeShape s{.batch = 9,
                      .places = 99,
                      .kv_heads = 9,
                      .group = 1,
                      .frames = static_cast<int64_t>(frames),
                      .width = static_cast<int64_t>(width)};
    for (const auto& [tiles, want] :
         {std::pair(kFloatForwardTiles, forward), {kFloatBackwardTiles, backward}}) {
      const TimePlan plan = time_plan(s, tiles, {limit, 132});
      EXPECT_EQ(plan.warps, static_cast<int>(want)) << width << " " << frames << " " << limit;
      EXPECT_LE(plan.shared_bytes, limit);
    }
    // Sums for the gains of queries and keys take the place of a warp's scores.
    EXPECT_LE(2 * width, 16U * static_cast<size_t>(score_stride(16)));
  }
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
  EXPECT_TRUE(with(&TimeShape::batch, INT32_MAX / 2 / 64));
  EXPECT_FALSE(with(&TimeShape::batch, INT32_MAX / 2 / 64 + 1));
  EXPECT_FALSE(with(&TimeShape::frames, 65));
  EXPECT_FALSE(with(&TimeShape::frames, -1));
  EXPECT_FALSE(with(&TimeShape::width, 32));
  EXPECT_FALSE(with(&TimeShape::group, 0));
  EXPECT_FALSE(with(&TimeShape::kv_heads, int64_t{1} << 40));
  EXPECT_FALSE(with(&TimeShape::window, -1));
  EXPECT_FALSE(with(&TimeShape::sinks, -1));
}

// What a run checks its kernels with before it takes them (src/ops/time_attention_cuda.cpp): few
// tiles and many, on every chip.
TEST(TimePlans, HaveRoomForWhatKernelsAreCheckedWithOnEveryChip) {
  for (const size_t limit : {kSmall, kAmpere, kHopper}) {
    for (const TimeTiles& tiles : {kBackwardTiles, kFloatBackwardTiles}) {
      for (const auto& [width, frames] :
           {std::pair<int64_t, int64_t>{64, 18}, {64, 35}, {128, 7}, {128, 32}}) {
        const TimeShape shape{.batch = 2,
                              .places = 3,
                              .kv_heads = 2,
                              .group = 2,
                              .frames = frames,
                              .width = width,
                              .window = 5,
                              .sinks = 2};
        EXPECT_GT(time_plan(shape, tiles, {limit, 132}).warps, 0)
            << limit << " bytes, width " << width << ", " << frames << " frames";
      }
    }
  }
}

}  // namespace
}  // namespace praxino::kernels
