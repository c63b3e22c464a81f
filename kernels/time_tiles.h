#pragma once
// How attention along time is spread over blocks, warps and shared memory, as index arithmetic.
//
// A sequence is one place of a batch row with one key/value head: `frames` rows of `width`
// elements, one a frame. Its frames are cut into tiles of 16, the rows of a tensor core product
// (float has the same tiles without tensor cores). A
// warp works on one tile, the warps of a sequence are a team, and the teams of a block go their own
// ways: they take neighbouring sequences, which lie next to each other in memory. The query heads
// that share a key/value head are rounds over the same keys and values.

#include <cstddef>
#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/fragments.h"
#include "kernels/frame_rows.h"
#include "kernels/host_device.h"

namespace praxino::kernels {

inline constexpr int kTimeTile = 16;
inline constexpr int kMostTimeTiles = 4;  // of a sequence: its scores stay in registers
inline constexpr int kFewTimeTiles =
    2;  // of most models: kernels of their own, with fewer registers
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
  /// Of all batch rows; none where they have no frames.
  constexpr PRAXINO_HOST_DEVICE int64_t all_sequences() const {
    return frames == 0 ? 0 : batch * sequences();
  }
  /// Of a sequence: at least one.
  constexpr PRAXINO_HOST_DEVICE int tiles() const {
    return frames <= kTimeTile ? 1 : static_cast<int>((frames + kTimeTile - 1) / kTimeTile);
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

/// Frames up to kMostFrames, head widths 64 and 128, fewer than 2^30 sequences and as many tokens:
/// their numbers have 32 bits, offsets of elements 64. A batch, a frame or a sequence may be empty.
constexpr PRAXINO_HOST_DEVICE bool in_range(const TimeShape& s) {
  const int64_t most = INT32_MAX;
  if (s.batch < 0 || s.batch > most || s.frames < 0 || s.frames > kMostFrames) return false;
  if (s.places < 0 || s.kv_heads < 1 || s.group < 1 || s.window < 0 || s.sinks < 0) return false;
  if (s.width != 64 && s.width != 128) return false;
  if (s.kv_heads > most / s.group || (s.places > 0 && s.heads() > most / s.places)) return false;
  if (s.frames > 0 && s.places > most / s.frames) return false;
  if (s.frames > 0 && s.places > 0 && s.batch > most / 2 / s.frames / s.places) return false;
  // Room above: a team looks past its last sequence.
  return s.sequences() < most / 2 && (s.sequences() == 0 || s.batch <= most / 2 / s.sequences());
}

inline constexpr int kMostTimeBlocks = 255;  // what time_sums() numbers

/// What a plan is made for.
struct TimeDevice {
  size_t shared_limit = 0;  // bytes of a block
  int multiprocessors = 0;
};

/// What a launch is made of; no warps where the device has too little shared memory.
struct TimePlan {
  int warps = 0;   // of a block: all of its teams
  int tiles = 0;   // of a sequence: the warps of a team
  int teams = 0;   // of a block
  int blocks = 0;  // at least 1; each stays on its multiprocessor and takes an even share
  size_t shared_bytes = 0;

  constexpr PRAXINO_HOST_DEVICE int threads() const { return warps * 32; }
  constexpr bool operator==(const TimePlan&) const = default;
};

// What a warp of the two passes has in shared memory: images of operands (image_element), matrices
// of probabilities, rows as they came, sums for the gains; where query heads share keys, also tiles
// of float that are kept from round to round. And how many warps a block has at most.
struct TimeTiles {
  int images = 0;
  int scores = 0;
  int raw_64 = 0;
  int raw_128 = 0;
  int sums = 0;
  int kept = 0;
  int most_warps_64 = 0;
  int most_warps_128 = 0;
  bool floats = false;  // operands and scores are float: images, scores, nothing else
  constexpr PRAXINO_HOST_DEVICE int raw(int64_t width) const {
    return width == 64 ? raw_64 : raw_128;
  }
  constexpr PRAXINO_HOST_DEVICE int most_warps(int64_t width) const {
    return width == 64 ? most_warps_64 : most_warps_128;
  }
};
inline constexpr TimeTiles kForwardTiles{.images = 2, .most_warps_64 = 16, .most_warps_128 = 8};
inline constexpr TimeTiles kBackwardTiles{.images = 4,
                                          .scores = 2,
                                          .raw_64 = 2,
                                          .raw_128 = 1,
                                          .sums = 2,
                                          .kept = 2,
                                          .most_warps_64 = 12,
                                          .most_warps_128 = 8};
inline constexpr TimeTiles kFloatForwardTiles{
    .images = 2, .scores = 1, .most_warps_64 = 16, .most_warps_128 = 12, .floats = true};
inline constexpr TimeTiles kFloatBackwardTiles{
    .images = 4, .scores = 2, .most_warps_64 = 12, .most_warps_128 = 8, .floats = true};

/// Of the kernels for elements of type T, Bf16 or float.
template <class T>
constexpr const TimeTiles& forward_tiles() {
  return sizeof(T) == sizeof(Bf16) ? kForwardTiles : kFloatForwardTiles;
}
template <class T>
constexpr const TimeTiles& backward_tiles() {
  return sizeof(T) == sizeof(Bf16) ? kBackwardTiles : kFloatBackwardTiles;
}

/// Elements between rows of an image of `columns` columns, a multiple of 16: 16 bytes more than the
/// row has, so that the same 16 bytes of eight rows lie in different banks.
constexpr PRAXINO_HOST_DEVICE int image_stride(int columns) { return columns + 8; }

/// Of a warp's tile: images of operands, of scores.
constexpr PRAXINO_HOST_DEVICE int image_size(int columns) {
  return kTimeTile * image_stride(columns);
}

/// Floats between rows of a warp's scores for `columns` frames, a multiple of 16: rows are aligned
/// to 8 bytes, and no bank has two of the words that a warp writes or reads at once.
constexpr PRAXINO_HOST_DEVICE int score_stride(int columns) { return columns + 2; }

constexpr PRAXINO_HOST_DEVICE size_t time_shared_bytes(const TimeShape& s, const TimeTiles& tiles,
                                                       int warps) {
  if (tiles.floats) {
    const int row = tiles.images * static_cast<int>(s.width) +
                    tiles.scores * score_stride(kTimeTile * s.tiles());
    return sizeof(float) * static_cast<size_t>(warps) * static_cast<size_t>(kTimeTile * row);
  }
  const int width = static_cast<int>(s.width), kept = s.group > 1 ? tiles.kept : 0;
  const int of_warp =
      2 * (tiles.images * image_size(width) + tiles.scores * image_size(kTimeTile * s.tiles())) +
      width * (2 * tiles.raw(width) * kTimeTile + 4 * tiles.sums + 4 * kept * kTimeTile);
  return static_cast<size_t>(warps) * static_cast<size_t>(of_warp);
}

/// As many teams as a block has warps and shared memory for, a block a multiprocessor.
constexpr PRAXINO_HOST_DEVICE TimePlan time_plan(const TimeShape& s, const TimeTiles& tiles,
                                                 const TimeDevice& device) {
  for (int teams = tiles.most_warps(s.width) / s.tiles(); teams > 0; --teams) {
    TimePlan plan = {.warps = teams * s.tiles(), .tiles = s.tiles(), .teams = teams};
    plan.shared_bytes = time_shared_bytes(s, tiles, plan.warps);
    if (plan.shared_bytes > device.shared_limit) continue;
    const int64_t needed = (s.all_sequences() + teams - 1) / teams;
    const int64_t most =
        device.multiprocessors < kMostTimeBlocks ? device.multiprocessors : kMostTimeBlocks;
    plan.blocks = static_cast<int>(needed < 1 ? 1 : needed < most ? needed : most);
    return plan;
  }
  return {};
}

/// The partial sums for the gains, one of each team, as chunks of rows of one frame
/// (kernels/chunk_sums.h): sum `block * teams + team`.
constexpr PRAXINO_HOST_DEVICE FrameRows time_sums(const TimeShape& s, const TimePlan& plan) {
  const int64_t sums = int64_t{plan.blocks} * plan.teams;
  const FrameRows of_64 = {1, 64 * sums, s.width};
  return chunk_rows(of_64) == 64 ? of_64 : FrameRows{1, 16 * sums, s.width};
}

/// The sequences of a block, counted over all batch rows: [first, end). Its teams take every
/// `teams`-th.
struct TimeRun {
  int first = 0;
  int end = 0;
};
constexpr PRAXINO_HOST_DEVICE TimeRun time_run(const TimeShape& s, const TimePlan& plan,
                                               int block) {
  const int64_t all = s.all_sequences();
  return {static_cast<int>(all * block / plan.blocks),
          static_cast<int>(all * (block + 1) / plan.blocks)};
}

/// Where a team stands: a place, the token of B T N that it is in frame 0, and a head of keys and
/// values.
struct TimeCursor {
  int token;
  int place;
  int head;
};
constexpr PRAXINO_HOST_DEVICE TimeCursor time_cursor(const TimeShape& s, int sequence) {
  const int heads = static_cast<int>(s.kv_heads), places = static_cast<int>(s.places);
  const int row = sequence / heads, batch = row / places, place = row - batch * places;
  return {batch * static_cast<int>(s.frames) * places + place, place, sequence - row * heads};
}

/// What a cursor goes on by: so many sequences.
struct TimeStep {
  int places;
  int heads;
};
constexpr PRAXINO_HOST_DEVICE TimeStep time_step(const TimeShape& s, int sequences) {
  const int heads = static_cast<int>(s.kv_heads);
  return {sequences / heads, sequences % heads};
}
/// Without a division.
constexpr PRAXINO_HOST_DEVICE void advance(TimeCursor& at, const TimeStep& step,
                                           const TimeShape& s) {
  const int heads = static_cast<int>(s.kv_heads), places = static_cast<int>(s.places);
  const bool carry = at.head + step.heads >= heads;
  at.head += carry ? step.heads - heads : step.heads;
  const int on = carry ? step.places + 1 : step.places;
  at.place += on;
  at.token += on;
  while (at.place >= places) {
    at.place -= places;
    at.token += (static_cast<int>(s.frames) - 1) * places;
  }
}

// A lane holds of each row 8 neighbours in every 32: word 4 h + w are elements time_column(lane, 4
// h + w) and the next. That is how 16-byte accesses and products meet: word w of the four lanes of
// a row are chunk w of 8 elements in an image, a row of the matrices of 8 x 8 that the tensor cores
// take, as left or as right operand; and results come out of them in the same way. Elements half a
// row apart, which rotate with each other, are in the same lane.

/// The first of the two elements of word `word`; `word` below width / 8.
constexpr PRAXINO_HOST_DEVICE int time_column(int lane, int word) {
  return word / 4 * 32 + lane % 4 * 8 + word % 4 * 2;
}
/// The first of a lane's two rows; the second lies 8 on.
constexpr PRAXINO_HOST_DEVICE int time_row(int lane) { return lane / 4; }

/// Where word `word` of a lane lies in an image of its tile, in elements; `second`: of its second
/// row.
constexpr PRAXINO_HOST_DEVICE int image_element(int lane, int word, int second, int columns) {
  return (time_row(lane) + 8 * second) * image_stride(columns) + 8 * word + lane % 4 * 2;
}

/// Of the sums over 16 rows of 8 neighbours of every lane (sum_columns of
/// kernels/device/time_tiles.cuh): which of them a lane ends up with, for words 4 step .. 4 step +
/// 3.
constexpr PRAXINO_HOST_DEVICE int column_of_sum(int lane, int step) {
  return time_column(lane, 4 * step) + lane / 16 % 2 * 4 + lane / 8 % 2 * 2 + lane / 4 % 2;
}

// Float: eight lanes hold a row, 4 neighbours in every 32 each, so that an access of theirs is 128
// bytes side by side; and four rows at once, so that what they read of another row from shared
// memory, where images lie without gaps, serves four products. Elements half a row apart are in the
// same lane here, too.

inline constexpr int kLaneRows = 4;
inline constexpr int kRowLanes = 8;

/// Row r of a lane, of its warp's tile.
constexpr PRAXINO_HOST_DEVICE int lane_row(int lane, int r) {
  return lane / kRowLanes * kLaneRows + r;
}
/// Element `element` of a lane's row, below width / 8.
constexpr PRAXINO_HOST_DEVICE int lane_column(int lane, int element) {
  return element / 4 * 32 + lane % kRowLanes * 4 + element % 4;
}
/// Which score a lane ends up with of its four rows times two others, value 2 r + other: row of the
/// tile, and which of the two.
constexpr PRAXINO_HOST_DEVICE FragmentSpot score_of_lane(int lane) {
  return {lane_row(lane, lane % kRowLanes / 2), lane % 2};
}
/// Score 4 m + r that a lane looks at for the softmax: row of the tile, frame.
constexpr PRAXINO_HOST_DEVICE FragmentSpot softmax_score(int lane, int number) {
  return {lane_row(lane, number % kLaneRows), lane % kRowLanes + number / kLaneRows * kRowLanes};
}
/// The column that a lane has the sum of, out of those of elements 4 piece .. 4 piece + 3.
constexpr PRAXINO_HOST_DEVICE int column_of_lane_sum(int lane, int piece) {
  return lane_column(lane, 4 * piece) + lane / kRowLanes;
}
/// How many rows of tile `tile` the sequence has, taken two at a time: even.
constexpr PRAXINO_HOST_DEVICE int paired_rows(const TimeShape& s, int tile) {
  const int left = static_cast<int>(s.frames) - kTimeTile * tile;
  return left >= kTimeTile ? kTimeTile : (left + 1) / 2 * 2;
}

}  // namespace praxino::kernels
