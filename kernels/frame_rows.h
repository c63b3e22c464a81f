#pragma once
// How rows of frames are spread over threads: `frames` frames of `tokens` rows of `width` floats,
// where the rows of a frame share something (a scale, a gate), and its gradient is a sum over them.
//
// Fast path: a team of `lanes` threads works on a row and keeps it in registers, each thread
// `pieces` times kRowVector neighbouring elements. Teams are groups inside a warp, so that narrow
// rows share it, or a whole block for wide rows.
//
// Sums over the rows of a frame are taken in chunks of rows, one block a chunk, and the chunks are
// added up in a fixed order by further passes. What is a chunk follows from the shape alone: the
// order of a sum does not depend on the device.

#include <cstddef>
#include <cstdint>

#include "kernels/division.h"
#include "kernels/host_device.h"

namespace praxino::kernels {

inline constexpr int kRowThreads = 128;  // of a block
inline constexpr int kRowVector = 8;     // floats that a thread moves together
inline constexpr int kRowPieces = 4;     // at most, in registers
// A thread holds one array of its row forward and four backward: there, wide rows take more threads
// instead of more registers.
inline constexpr int kForwardPieces = 4;
inline constexpr int kBackwardPieces = 2;
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

/// Rows of a chunk: many, so that the second pass is short, but not so many that a small problem
/// becomes too few blocks for a large chip.
constexpr PRAXINO_HOST_DEVICE int64_t chunk_rows(const FrameRows& shape) {
  constexpr int64_t kMost = 64, kFewest = 16, kEnoughBlocks = 1024;
  return shape.frames * ((shape.tokens + kMost - 1) / kMost) >= kEnoughBlocks ? kMost : kFewest;
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

struct Chunk {
  int64_t frame;
  int64_t begin;  // rows, half-open, counted over all frames
  int64_t end;
};

constexpr PRAXINO_HOST_DEVICE Chunk chunk_at(int64_t number, const FrameRows& shape) {
  const int64_t chunks = chunks_of_frame(shape), rows = chunk_rows(shape);
  const int64_t frame = number / chunks, first = (number - frame * chunks) * rows;
  const int64_t last = first + rows < shape.tokens ? first + rows : shape.tokens;
  return {frame, frame * shape.tokens + first, frame * shape.tokens + last};
}

/// The chunks of a frame are added up in groups of so many, side by side, and then the groups, so
/// that a long frame is not one long sum. A frame of one group needs no second round.
inline constexpr int64_t kGroupChunks = 64;
constexpr PRAXINO_HOST_DEVICE int64_t groups_of_frame(const FrameRows& shape) {
  return (chunks_of_frame(shape) + kGroupChunks - 1) / kGroupChunks;
}

/// Floats of workspace for `sums` sums a frame, each as wide as a row: of the chunks, then of the
/// groups where there are several. None where a chunk is a frame.
constexpr PRAXINO_HOST_DEVICE int64_t chunk_workspace(const FrameRows& shape, int sums) {
  const int64_t chunks = chunks_of_frame(shape), groups = groups_of_frame(shape);
  if (chunks == 1) return 0;
  return shape.frames * (groups == 1 ? chunks : chunks + groups) * sums * shape.width;
}

}  // namespace praxino::kernels
