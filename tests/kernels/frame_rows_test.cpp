#include "kernels/frame_rows.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/chunk_sums.h"

namespace praxino::kernels {
namespace {

struct Rows {
  FrameRows shape;
};

// Every column of a row belongs to exactly one piece of one lane.
TEST(FrameRows, ATeamCoversItsRowOnce) {
  for (const int warp_pieces : {kForwardPieces, kTeamPieces}) {
    for (int64_t width = 8; width <= 4096; width += 8) {
      const RowTeam team = row_team(width, warp_pieces);
      std::vector<int> seen(static_cast<size_t>(width)), by_halves(seen);
      for (int lane = 0; lane < team.lanes; ++lane) {
        for (int piece = 0; piece < team.pieces; ++piece) {
          const int64_t column = row_column(lane, piece, team.lanes);
          for (int64_t i = column; column < width && i < column + kRowVector; ++i)
            ++seen[static_cast<size_t>(i)];
          const HalfColumns halves = half_columns(lane, piece, team.lanes);
          for (const int64_t half : {halves.first, halves.second}) {
            for (int64_t i = half; half < width && i < half + kRowVector / 2; ++i)
              ++by_halves[static_cast<size_t>(i)];
          }
        }
      }
      EXPECT_EQ(seen, std::vector<int>(static_cast<size_t>(width), 1)) << width;
      EXPECT_EQ(by_halves, seen) << width;
    }
  }
}

TEST(FrameRows, ATeamIsPartOfAWarpOrAWholeBlock) {
  for (const int warp_pieces : {kForwardPieces, kTeamPieces}) {
    for (int64_t width = 8; width <= 4096; width += 8) {
      const RowTeam team = row_team(width, warp_pieces);
      const bool whole = team.lanes == kRowThreads;
      EXPECT_TRUE(whole || (team.lanes <= 32 && 32 % team.lanes == 0)) << width;
      EXPECT_LE(team.pieces, whole ? kRowPieces : warp_pieces) << width;
      EXPECT_TRUE(team.pieces == 1 || team.pieces == 2 || team.pieces == 4) << width;
    }
  }
}

TEST(FrameRows, NarrowRowsShareAWarp) {
  EXPECT_EQ(row_team(64, kForwardPieces).lanes, 8);
  EXPECT_EQ(row_team(8, kForwardPieces).lanes, 1);
  EXPECT_EQ(row_team(1024, kForwardPieces).lanes, 32);
  EXPECT_EQ(row_team(1024, kTeamPieces).lanes, kRowThreads);
}

TEST(FrameRows, OddAndVeryWideRowsHaveNoTeam) {
  for (const int64_t width : {1, 7, 9, 1023, 4097, 4104, 8192})
    EXPECT_EQ(row_team(width, kForwardPieces).pieces, 0) << width;
}

// In shared memory, all teams of a block lay a row of sums beside each other.
TEST(FrameRows, TheSumsOfABlockFitSharedMemory) {
  for (int64_t width = 8; width <= 4096; width += 8) {
    const size_t bytes = sums_bytes({1, 1, width}, row_team(width, kTeamPieces));
    EXPECT_LE(bytes, 32 * 1024) << width;
    EXPECT_GE(bytes, kRowThreads / 32 * sizeof(float)) << width;
  }
}

TEST(FrameRows, ChunksTileTheRowsOfEachFrame) {
  for (const int64_t frames : {1, 2, 3, 700, 1100}) {
    for (int64_t tokens = 1; tokens < 200; ++tokens) {
      const FrameRows shape{frames, tokens, 8};
      const int64_t chunks = chunks_of_frame(shape);
      int64_t row = 0;
      for (int64_t number = 0; number < frames * chunks; ++number) {
        const RowRun chunk = chunk_at(number, shape);
        ASSERT_EQ(chunk.begin, row);
        ASSERT_GT(chunk.end, chunk.begin);
        ASSERT_EQ(chunk.begin / tokens, chunk.frame);
        ASSERT_EQ((chunk.end - 1) / tokens, chunk.frame);
        row = chunk.end;
      }
      ASSERT_EQ(row, shape.rows());
    }
  }
}

TEST(FrameRows, AFrameWithoutTokensIsOneEmptyChunk) {
  const FrameRows shape{3, 0, 8};
  EXPECT_EQ(chunks_of_frame(shape), 1);
  EXPECT_EQ(chunk_at(2, shape).frame, 2);
  EXPECT_EQ(chunk_at(2, shape).begin, chunk_at(2, shape).end);
}

TEST(FrameRows, WorkspaceHoldsEverySumOfEveryChunkApart) {
  const FrameRows shape{3, 40, 8};
  std::vector<float> workspace(static_cast<size_t>(chunk_workspace(shape, 2)));
  const ChunkSums sums{.workspace = workspace.data(), .sums = 2, .shape = shape};
  int64_t row = 0;
  for (int64_t number = 0; number < 3 * chunks_of_frame(shape); ++number) {
    for (int sum = 0; sum < 2; ++sum, ++row)
      EXPECT_EQ(chunk_row(sums, number, sum) - workspace.data(), row * shape.width);
  }
  EXPECT_EQ(row * shape.width, static_cast<int64_t>(workspace.size()));
}

TEST(FrameRows, RunsTileTheRowsOfEachFrame) {
  for (const int64_t rows : {1, 16, 64}) {
    for (int64_t tokens = 1; tokens < 100; ++tokens) {
      const auto runs = by_run(Rows{{3, tokens, 8}}, rows);
      int64_t row = 0;
      for (int64_t number = 0; number < runs.runs(); ++number) {
        const RowRun run = runs.run(number);
        ASSERT_EQ(run.begin, row);
        ASSERT_GT(run.end, run.begin);
        ASSERT_LE(run.end - run.begin, rows);
        ASSERT_EQ(run.begin / tokens, run.frame);
        ASSERT_EQ((run.end - 1) / tokens, run.frame);
        row = run.end;
      }
      ASSERT_EQ(row, 3 * tokens);
    }
  }
}

// Neither so few that a large chip waits for the last ones, nor so many that adding them up costs.
TEST(FrameRows, ALargeProblemHasSomeThousandChunks) {
  for (const FrameRows shape : {FrameRows{256, 256, 1024}, FrameRows{256, 1024, 128},
                                FrameRows{1, 1 << 20, 64}, FrameRows{1, 1 << 26, 64}}) {
    EXPECT_GE(all_chunks(shape), 1024) << shape.tokens;
    EXPECT_LE(all_chunks(shape), 4096) << shape.tokens;
  }
}

TEST(FrameRows, LanesThatAddUpChunksFillABlock) {
  for (int64_t tokens = 17; tokens < 70000; tokens += 16) {
    const AddTeam team = add_team({1, tokens, 8});
    ASSERT_EQ(team.lanes * team.columns, kAddThreads);
    ASSERT_GE(team.columns, 8);
  }
}

TEST(FrameRows, WhereAFrameIsOneChunkItsSumIsTheResult) {
  const FrameRows shape{3, 16, 8};
  float results[2][24];
  const ChunkSums sums{.results = {results[0], results[1]}, .sums = 2, .shape = shape};
  EXPECT_EQ(chunk_workspace(shape, 2), 0);
  EXPECT_EQ(chunk_row(sums, 2, 0), results[0] + 16);
  EXPECT_EQ(chunk_row(sums, 1, 1), results[1] + 8);
}

static_assert(in_range(FrameRows{0, 0, 1}) && !in_range(FrameRows{1, 1, 0}));

}  // namespace
}  // namespace praxino::kernels
