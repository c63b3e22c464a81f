#pragma once
// How attention along time is spread over blocks, warps and shared memory, as index arithmetic.
//
// A sequence is one place of a batch row with one key/value head: `frames` rows of `width`
// elements, one a frame. Its frames are cut into tiles of 16, the rows of a tensor core product,
// and a warp works on one tile. A block takes as many neighbouring sequences as its warps have
// tiles for (a unit): neighbours lie next to each other in memory, so that what is read of one
// frame is one run of at least 256 bytes. The query heads that share a key/value head are rounds
// over the same keys and values.

#include <cstddef>
#include <cstdint>

#include "kernels/frame_rows.h"
#include "kernels/host_device.h"

namespace praxino::kernels {

inline constexpr int kTimeTile = 16;
inline constexpr int kMostTimeTiles = 4;  // of a sequence: its scores stay in registers
inline constexpr int kMostFrames = kTimeTile * kMostTimeTiles;

struct TimeShape {
  int64_t batch = 0;
  int64_t places = 0;    // of a frame
  int64_t kv_heads = 0;  // of keys and values
  int64_t group = 0;     // query heads of each
  int64_t frames = 0;
  int64_t width = 0;   // of a head
  int64_t window = 0;  // frames; 0: all
  int64_t sinks = 0;   // frames

  constexpr PRAXINO_HOST_DEVICE int64_t heads() const { return kv_heads * group; }
  /// Of a batch row.
  constexpr PRAXINO_HOST_DEVICE int64_t sequences() const { return places * kv_heads; }
  constexpr PRAXINO_HOST_DEVICE int tiles() const {
    return static_cast<int>((frames + kTimeTile - 1) / kTimeTile);
  }

  /// Frame i sees frame j, as FrameWindow::sees of include/praxino/ops/attention.h.
  constexpr PRAXINO_HOST_DEVICE bool sees(int i, int j) const {
    return j <= i && (window == 0 || i - j < window || j < sinks);
  }
  /// A frame of tile `query` sees one of tile `key`.
  constexpr PRAXINO_HOST_DEVICE bool sees_any(int query, int key) const {
    if (key > query) return false;
    if (window == 0 || kTimeTile * key < sinks) return true;
    return kTimeTile * (query - key) - (kTimeTile - 1) < window;
  }
};

/// Frames up to kMostFrames, head widths 64 and 128, fewer than 2^31 sequences and positions: their
/// numbers have 32 bits, offsets of elements 64. A batch, a frame or a sequence may be empty.
constexpr PRAXINO_HOST_DEVICE bool in_range(const TimeShape& s) {
  const int64_t most = INT32_MAX;
  if (s.batch < 0 || s.batch > most || s.frames < 0 || s.frames > kMostFrames) return false;
  if (s.places < 0 || s.kv_heads < 1 || s.group < 1 || s.window < 0 || s.sinks < 0) return false;
  if (s.width != 64 && s.width != 128) return false;
  if (s.kv_heads > most / s.group || (s.places > 0 && s.heads() > most / s.places)) return false;
  if (s.frames > 0 && s.places > most / s.frames) return false;
  return s.sequences() == 0 || s.batch <= most / s.sequences();
}

/// Of the most warps that a plan has.
constexpr PRAXINO_HOST_DEVICE int most_time_warps(int64_t width) { return width == 64 ? 8 : 4; }

/// What a launch is made of; no warps where the device has too little shared memory.
struct TimePlan {
  int warps = 0;      // of a block, at least one for each tile of a sequence
  int stages = 0;     // 2: the operands of the next unit arrive while this one is worked on
  int tiles = 0;      // of a sequence
  int sequences = 0;  // of a unit
  int units = 0;      // of a batch row
  int chunk = 0;      // units of a chunk: they share a partial sum for the gains
  int chunks = 0;     // of a batch row, at least 1
  size_t shared_bytes = 0;

  constexpr PRAXINO_HOST_DEVICE int rows() const { return warps * kTimeTile; }
  constexpr PRAXINO_HOST_DEVICE int threads() const { return warps * 32; }
};

// What the blocks of the two passes hold: tiles of operands a stage, tiles besides (normalized
// queries and keys), matrices of probabilities, sums for the gains; where query heads share keys,
// also tiles of float that are kept from round to round.
struct TimeTiles {
  int staged = 0;
  int single = 0;
  int scores = 0;
  int sums = 0;
  int kept = 0;
};
inline constexpr TimeTiles kForwardTiles{.staged = 3};
inline constexpr TimeTiles kBackwardTiles{
    .staged = 4, .single = 2, .scores = 2, .sums = 2, .kept = 2};

constexpr PRAXINO_HOST_DEVICE size_t time_shared_bytes(const TimeShape& s, const TimeTiles& tiles,
                                                       int warps, int stages) {
  const int64_t rows = warps * kTimeTile, kept = s.group > 1 ? tiles.kept : 0;
  const int64_t of_row = 2 * (tiles.staged * stages + tiles.single) + 4 * kept;
  return static_cast<size_t>(rows * (of_row * s.width + 2 * tiles.scores * kMostFrames) +
                             int64_t{4} * tiles.sums * warps * s.width);
}

/// Units of each batch row as rows of frames (kernels/frame_rows.h), where they are cut into
/// chunks.
constexpr PRAXINO_HOST_DEVICE FrameRows time_units(const TimeShape& s, const TimePlan& plan) {
  return {s.batch, plan.units, s.width};
}

/// Eight warps at width 64 and four at 128, two stages; less where the device has less.
constexpr PRAXINO_HOST_DEVICE TimePlan time_plan(const TimeShape& s, const TimeTiles& tiles,
                                                 size_t shared_limit) {
  for (int warps = most_time_warps(s.width); warps >= s.tiles() && warps > 0; warps /= 2) {
    for (int stages = 2; stages > 0; --stages) {
      TimePlan plan = {.warps = warps, .stages = stages, .tiles = s.tiles()};
      plan.shared_bytes = time_shared_bytes(s, tiles, warps, stages);
      if (plan.shared_bytes > shared_limit) continue;
      plan.sequences = plan.tiles == 0 ? 0 : warps / plan.tiles;
      if (plan.tiles > 0)
        plan.units = static_cast<int>((s.sequences() + plan.sequences - 1) / plan.sequences);
      const FrameRows units = time_units(s, plan);
      plan.chunk = static_cast<int>(chunk_rows(units));
      plan.chunks = static_cast<int>(chunks_of_frame(units));
      return plan;
    }
  }
  return {};
}

/// What a block works on next: a round over the query heads of a unit. Units and chunks are counted
/// over all batch rows.
struct TimeItem {
  int chunk = 0;
  int unit = 0;
  int end = 0;  // of the chunk's units
  int round = 0;
};
constexpr PRAXINO_HOST_DEVICE TimeItem first_of_chunk(const TimePlan& plan, int chunk) {
  const int batch = chunk / plan.chunks, begin = (chunk - batch * plan.chunks) * plan.chunk;
  const int end = begin + plan.chunk < plan.units ? begin + plan.chunk : plan.units;
  return {chunk, batch * plan.units + begin, batch * plan.units + end, 0};
}

/// Row of a block's tiles: the frame of a sequence of the unit. Rows past the last sequence of the
/// unit belong to none, those past the last frame of a sequence to no frame.
struct TimeRow {
  int sequence;
  int frame;
};
constexpr PRAXINO_HOST_DEVICE TimeRow time_row(int row, int tiles) {
  const int rows = tiles * kTimeTile;
  return {row / rows, row % rows};
}

/// Element of the first of 8 neighbours, chunk `chunk` of a row, in a tile of shared memory. Chunks
/// of a row are exchanged so that the same chunk of eight rows lies in different banks.
constexpr PRAXINO_HOST_DEVICE int tile_element(int row, int chunk, int width) {
  return row * width + 8 * (chunk ^ (row % 8));
}

/// The row that the four lanes of team `team` normalize: rows whose accesses meet lie four apart,
/// half of the banks.
constexpr PRAXINO_HOST_DEVICE int row_of_team(int team) {
  return team / 8 * 8 + team % 2 * 4 + team % 8 / 2;
}

/// Column of the sum over rows that a lane ends up with from step `step` of width / 32, see
/// sum_columns() of kernels/device/time_tiles.cuh. Value 0..7 of a lane before the exchange.
constexpr PRAXINO_HOST_DEVICE int column_of_value(int lane, int step, int value, int width) {
  const int tile = 2 * step + value / 4, half = value / 2 % 2;
  return 8 * tile + half * (width / 2) + 2 * (lane % 4) + value % 2;
}
constexpr PRAXINO_HOST_DEVICE int column_of_sum(int lane, int step, int width) {
  return column_of_value(lane, step, lane / 16 % 2 * 4 + lane / 8 % 2 * 2 + lane / 4 % 2, width);
}

}  // namespace praxino::kernels
