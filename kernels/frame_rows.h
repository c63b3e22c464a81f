#pragma once
// How rows of frames are spread over threads: `frames` frames of `tokens` rows of `width` floats,
// where the rows of a frame share something (a scale, a gate), and its gradient is a sum over them.
//
// Fast path: a team of `lanes` threads works on a row and keeps it in registers, each thread
// `pieces` times kRowVector neighbouring elements. Teams are groups inside a warp, so that narrow
// rows share it, or a whole block for wide rows.
//
// Sums over the rows of a frame are taken in chunks of rows, one block a chunk, and the chunks are
// added up in a fixed order by a second pass. What is a chunk follows from the shape alone: the
// order of a sum does not depend on the device.

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "kernels/division.h"
#include "kernels/host_device.h"

namespace praxino::kernels {

inline constexpr int kRowThreads = 128;  // of a block
inline constexpr int kRowVector = 8;     // floats that a thread moves together
inline constexpr int kRowPieces = 4;     // at most, in registers
// What a thread takes of a row before the whole block becomes the team. Where it holds more arrays
// than one, wide rows take more threads instead of more registers.
inline constexpr int kForwardPieces = 4;
inline constexpr int kTeamPieces = 2;
inline constexpr int64_t kMaxRowWidth = int64_t{1} << 20;

struct FrameRows {
  int64_t frames = 0;
  int64_t tokens = 0;
  int64_t width = 0;
  constexpr PRAXINO_HOST_DEVICE int64_t rows() const { return frames * tokens; }
};

/// What a kernel that works row by row is launched with: its parameters, and the frame of a row.
template <class Params>
struct ByRow {
  Params params;
  Divisor tokens;
};

/// REQUIRES: there are rows.
template <class Params>
constexpr ByRow<Params> by_row(const Params& params) {
  return {params, Divisor(params.shape.tokens)};
}

constexpr PRAXINO_HOST_DEVICE bool in_range(const FrameRows& shape) {
  const int64_t most = INT64_MAX / 16;
  if (shape.frames < 0 || shape.tokens < 0) return false;
  if (shape.width < 1 || shape.width > kMaxRowWidth) return false;
  return shape.tokens == 0 || shape.frames <= most / shape.tokens / shape.width;
}

struct RowTeam {
  int lanes;   // a power of two up to 32, or all of a block
  int pieces;  // 1, 2 or 4; 0 where the row does not fit registers or 16-byte accesses
};

/// choose(pieces, whether all of a block is the team), two std::integral_constant, of a team whose
/// rows are in registers.
template <class Choose>
constexpr auto of_team(RowTeam team, Choose choose) {
  constexpr std::integral_constant<int, 1> kOne;
  constexpr std::integral_constant<int, 2> kTwo;
  constexpr std::integral_constant<int, 4> kFour;
  if (team.lanes != kRowThreads)
    return team.pieces == 2 ? choose(kTwo, std::false_type()) : choose(kOne, std::false_type());
  if (team.pieces == 4) return choose(kFour, std::true_type());
  return team.pieces == 2 ? choose(kTwo, std::true_type()) : choose(kOne, std::true_type());
}

/// `warp_pieces`: what a thread takes before the whole block becomes the team.
constexpr PRAXINO_HOST_DEVICE RowTeam row_team(int64_t width, int warp_pieces) {
  if (width % kRowVector != 0 || width > kRowThreads * kRowVector * kRowPieces)
    return {kRowThreads, 0};
  const int64_t vectors = width / kRowVector;
  int lanes = vectors > 32 * warp_pieces ? kRowThreads : 1;
  while (lanes < 32 && lanes < vectors) lanes *= 2;
  return {lanes, vectors > 2 * lanes ? 4 : vectors > lanes ? 2 : 1};
}

/// The team where 16-byte accesses may not be possible because pointers are not `aligned`.
constexpr PRAXINO_HOST_DEVICE RowTeam team_for(int64_t width, int warp_pieces, bool aligned) {
  return aligned ? row_team(width, warp_pieces) : RowTeam{kRowThreads, 0};
}

/// Bytes of shared memory for a row of sums of each of a block's teams: at most 32 KiB, and at
/// least a float for each warp.
constexpr PRAXINO_HOST_DEVICE size_t sums_bytes(const FrameRows& shape, RowTeam team) {
  return sizeof(float) * static_cast<size_t>(shape.width * (kRowThreads / team.lanes));
}

/// The first column of a lane's piece; pieces whose column is not below the width do not exist.
constexpr PRAXINO_HOST_DEVICE int row_column(int lane, int piece, int lanes) {
  return (piece * lanes + lane) * kRowVector;
}

/// The columns of a lane's piece where rows are floats: two halves of 16 bytes, so far apart that
/// the lanes of a team lie side by side in each, and a store fills whole sectors of 32 bytes.
struct HalfColumns {
  int first;
  int second;
};
constexpr PRAXINO_HOST_DEVICE HalfColumns half_columns(int lane, int piece, int lanes) {
  constexpr int kHalf = kRowVector / 2;
  const int first = piece * lanes * kRowVector + lane * kHalf;
  return {first, first + lanes * kHalf};
}

/// Rows of a chunk: many, so that the second pass is short, but not so many that a small problem
/// becomes too few blocks for a large chip.
constexpr PRAXINO_HOST_DEVICE int64_t chunk_rows(const FrameRows& shape) {
  constexpr int64_t kMany = 64, kFewest = 16, kEnoughBlocks = 1024;
  const int64_t chunks = shape.frames * ((shape.tokens + kMany - 1) / kMany);
  if (chunks < kEnoughBlocks) return kFewest;
  const int64_t times = chunks / (2 * kEnoughBlocks);
  return kMany * (times < 1 ? 1 : times);
}

/// Chunks of a frame, at least 1: an empty frame has a sum, too.
constexpr PRAXINO_HOST_DEVICE int64_t chunks_of_frame(const FrameRows& shape) {
  const int64_t rows = chunk_rows(shape);
  return shape.tokens == 0 ? 1 : (shape.tokens + rows - 1) / rows;
}

/// Chunks of all frames.
constexpr PRAXINO_HOST_DEVICE int64_t all_chunks(const FrameRows& shape) {
  return shape.frames * chunks_of_frame(shape);
}

/// A run of neighbouring rows of one frame.
struct RowRun {
  int64_t frame;
  int64_t begin;  // rows, half-open, counted over all frames
  int64_t end;
};

constexpr PRAXINO_HOST_DEVICE RowRun chunk_at(int64_t number, const FrameRows& shape) {
  const int64_t chunks = chunks_of_frame(shape), rows = chunk_rows(shape);
  const int64_t frame = number / chunks, first = (number - frame * chunks) * rows;
  const int64_t last = first + rows < shape.tokens ? first + rows : shape.tokens;
  return {frame, frame * shape.tokens + first, frame * shape.tokens + last};
}

/// Floats of workspace for `sums` sums of each chunk, each as wide as a row. None where a chunk is
/// a frame.
constexpr PRAXINO_HOST_DEVICE int64_t chunk_workspace(const FrameRows& shape, int sums) {
  return chunks_of_frame(shape) == 1 ? 0 : all_chunks(shape) * sums * shape.width;
}

/// How the chunks of a frame are added up: a block takes `columns` columns of its sums, `lanes`
/// threads a column, each every `lanes`-th chunk; then one of them adds up what they have.
inline constexpr int kAddThreads = 512;
struct AddTeam {
  int lanes;
  int columns;
};

/// A lane takes some 16 chunks, but a block at least 8 columns: 32 bytes side by side.
constexpr PRAXINO_HOST_DEVICE AddTeam add_team(const FrameRows& shape) {
  const int64_t chunks = chunks_of_frame(shape);
  int lanes = 1;
  while (lanes < 64 && lanes * 16 < chunks) lanes *= 2;
  return {lanes, kAddThreads / lanes};
}

/// What a kernel is launched with whose blocks take runs of at most `rows` rows.
template <class Params>
struct ByRun {
  Params params;
  int64_t rows;
  Divisor runs_of_frame;
  constexpr PRAXINO_HOST_DEVICE int64_t runs() const {
    return params.shape.frames * runs_of_frame.by();
  }
  constexpr PRAXINO_HOST_DEVICE RowRun run(int64_t number) const {
    const int64_t tokens = params.shape.tokens, frame = runs_of_frame.quotient(number);
    const int64_t first = (number - frame * runs_of_frame.by()) * rows;
    const int64_t last = first + rows < tokens ? first + rows : tokens;
    return {frame, frame * tokens + first, frame * tokens + last};
  }
};

/// REQUIRES: there are rows.
template <class Params>
constexpr ByRun<Params> by_run(const Params& params, int64_t rows) {
  return {params, rows, Divisor((params.shape.tokens + rows - 1) / rows)};
}

/// Rows that a thread holds at the same time, so that many of its loads are under way together.
constexpr PRAXINO_HOST_DEVICE int rows_at_once(int pieces) { return pieces > 2 ? 1 : 4 / pieces; }

/// Rows that a block of teams takes for one load of what their frame shares.
constexpr PRAXINO_HOST_DEVICE int64_t rows_of_run(RowTeam team) {
  constexpr int64_t kFewest = 16;
  const int64_t at_once = kRowThreads / team.lanes * rows_at_once(team.pieces);
  return at_once < kFewest ? kFewest : at_once;
}

}  // namespace praxino::kernels
