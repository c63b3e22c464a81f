#pragma once
// Who sees whom in attention over frames, as index arithmetic: for single tokens, for tiles of
// queries and of keys. Query q stands at token q + offset of the sequence of keys. Frame i sees
// frame j where j <= i and (window == 0 or i - j < window or j < sinks), as FrameWindow::sees of
// include/praxino/ops/attention.h; tokens of frames that see each other see each other, too.
//
// - Space attention is one frame: tokens = queries = keys, a problem for every frame of the batch.
// - Decoding over a cache whose frames may stand in any order: one frame of as many tokens as there
//   are keys.
//
// What a tile of queries sees is one interval of keys, or two: the sinks and the window. A kernel
// walks their tiles (`tile`), and looks at single elements only where `full` does not hold.
// Everything fits 32 bits (kMostTokens).

#include <cstdint>

#include "kernels/host_device.h"

namespace praxino::kernels {

inline constexpr int64_t kMostTokens = int64_t{1} << 29;  // of queries, of keys

/// Tokens begin, begin + 1, .. end - 1.
struct Range {
  int begin = 0;
  int end = 0;
  constexpr PRAXINO_HOST_DEVICE int size() const { return end - begin; }
  constexpr PRAXINO_HOST_DEVICE bool has(int i) const { return begin <= i && i < end; }
  constexpr PRAXINO_HOST_DEVICE bool covers(const Range& other) const {
    return begin <= other.begin && other.end <= end;
  }
};

/// Two intervals that neither overlap nor touch, the first before the second, each possibly empty.
struct Ranges {
  Range sinks;
  Range near;
  constexpr PRAXINO_HOST_DEVICE bool has(int i) const { return sinks.has(i) || near.has(i); }
  /// As one of the intervals does.
  constexpr PRAXINO_HOST_DEVICE bool covers(const Range& other) const {
    return sinks.covers(other) || near.covers(other);
  }
  constexpr PRAXINO_HOST_DEVICE int size() const { return sinks.size() + near.size(); }
};

constexpr PRAXINO_HOST_DEVICE int smaller(int a, int b) { return a < b ? a : b; }
constexpr PRAXINO_HOST_DEVICE int larger(int a, int b) { return a < b ? b : a; }
constexpr PRAXINO_HOST_DEVICE int tiles_of(int size, int tile) { return (size + tile - 1) / tile; }

/// How many tiles cover both intervals. No tile lies in both.
constexpr PRAXINO_HOST_DEVICE int tiles_of(const Ranges& ranges, int tile) {
  return tiles_of(ranges.sinks.size(), tile) + tiles_of(ranges.near.size(), tile);
}

/// Tile `index` of an interval; the last may be shorter.
constexpr PRAXINO_HOST_DEVICE Range tile_of(const Range& range, int index, int tile) {
  const int begin = range.begin + index * tile;
  return {begin, smaller(begin + tile, range.end)};
}
constexpr PRAXINO_HOST_DEVICE Range tile_of(const Ranges& ranges, int index, int tile) {
  const int first = tiles_of(ranges.sinks.size(), tile);
  return index < first ? tile_of(ranges.sinks, index, tile)
                       : tile_of(ranges.near, index - first, tile);
}

struct FrameMask {
  int tokens = 1;  // of a frame, at least 1
  int window = 0;  // frames; 0: all
  int sinks = 0;   // frames
  int offset = 0;
  int queries = 0;
  int keys = 0;

  /// Of a query, of a key.
  constexpr PRAXINO_HOST_DEVICE int frame_of_query(int q) const { return (q + offset) / tokens; }
  constexpr PRAXINO_HOST_DEVICE int frame_of_key(int k) const { return k / tokens; }

  /// The definition.
  constexpr PRAXINO_HOST_DEVICE bool allowed(int q, int k) const {
    if (q < 0 || q >= queries || k < 0 || k >= keys) return false;
    const int i = frame_of_query(q), j = frame_of_key(k);
    return j <= i && (window == 0 || i - j < window || j < sinks);
  }

  /// The keys that any query of the tile sees. Exactly those that query q sees, for {q, q + 1}.
  constexpr PRAXINO_HOST_DEVICE Ranges keys_of(const Range& tile) const {
    const int last = smaller(tile.end, queries) - 1;
    if (last < tile.begin) return {};
    const int end = smaller((frame_of_query(last) + 1) * tokens, keys);
    const int oldest = window == 0 ? 0 : frame_of_query(tile.begin) - window + 1;
    const int begin = smaller(oldest * tokens, end), sunk = sinks * tokens;
    if (begin <= sunk) return {{}, {0, end}};  // also where `oldest` would be before the first
    return {{0, sunk}, {begin, end}};
  }

  /// The keys that every query of the tile sees, those past the last query aside.
  constexpr PRAXINO_HOST_DEVICE Ranges keys_of_all(const Range& tile) const {
    const int last = smaller(tile.end, queries) - 1;
    if (last < tile.begin) return {};
    const int end = smaller((frame_of_query(tile.begin) + 1) * tokens, keys);
    const int oldest = window == 0 ? 0 : frame_of_query(last) - window + 1;
    const int begin = smaller(oldest * tokens, end), sunk = smaller(sinks * tokens, end);
    if (begin <= sunk) return {{}, {0, end}};
    return {{0, sunk}, {begin, end}};
  }

  /// The queries that see any key of the tile. Exactly those that see key k, for {k, k + 1}.
  constexpr PRAXINO_HOST_DEVICE Range queries_of(const Range& tile) const {
    const int last = smaller(tile.end, keys) - 1;
    if (last < tile.begin) return {};
    const int first = frame_of_key(tile.begin);
    const int begin = smaller(larger(first * tokens - offset, 0), queries);
    if (window == 0 || first < sinks) return {begin, queries};
    const int end = (frame_of_key(last) + window) * tokens - offset;
    return {begin, larger(smaller(end, queries), begin)};
  }

  /// The queries that see every key of the tile, those past the last key aside.
  constexpr PRAXINO_HOST_DEVICE Range queries_of_all(const Range& tile) const {
    const int last = smaller(tile.end, keys) - 1;
    if (last < tile.begin) return {};
    const int newest = frame_of_key(last);
    const int begin = smaller(larger(newest * tokens - offset, 0), queries);
    if (window == 0 || newest < sinks) return {begin, queries};
    const int end = (larger(frame_of_key(tile.begin), sinks) + window) * tokens - offset;
    return {begin, larger(smaller(end, queries), begin)};
  }

  /// True exactly where every query of the tile sees every key of the other, and both lie inside.
  constexpr PRAXINO_HOST_DEVICE bool full(const Range& query_tile, const Range& key_tile) const {
    if (query_tile.end > queries || key_tile.end > keys) return false;
    const int newest = frame_of_key(key_tile.end - 1);
    if (newest > frame_of_query(query_tile.begin)) return false;
    if (window == 0 || newest < sinks) return true;
    const int oldest = larger(frame_of_key(key_tile.begin), sinks);
    return frame_of_query(query_tile.end - 1) - oldest < window;
  }
};

/// Sizes that the arithmetic holds.
constexpr PRAXINO_HOST_DEVICE bool in_range(const FrameMask& mask) {
  const auto fits = [](int64_t size) { return size >= 0 && size <= kMostTokens; };
  if (mask.tokens < 1 || mask.window < 0 || mask.sinks < 0) return false;
  return fits(mask.tokens) && fits(mask.keys) && fits(mask.offset) &&
         fits(int64_t{mask.queries} + mask.offset) && mask.queries >= 0 &&
         fits(int64_t{mask.window} * mask.tokens) && fits(int64_t{mask.sinks} * mask.tokens);
}

/// What attention over frames asks for; out of range (tokens 0) where it does not fit.
struct FrameMaskOptions {
  int64_t tokens = 1;
  int64_t window = 0;  // any, as sinks: what no frame can reach is cut off
  int64_t sinks = 0;
  int64_t offset = 0;
  int64_t queries = 0;
  int64_t keys = 0;
};
constexpr FrameMask frame_mask(const FrameMaskOptions& o) {
  const auto fits = [](int64_t size) { return size >= 0 && size <= kMostTokens; };
  FrameMask none;
  none.tokens = 0;
  if (o.tokens < 1 || !fits(o.tokens) || !fits(o.offset) || !fits(o.keys) || !fits(o.queries) ||
      !fits(o.offset + o.queries) || o.window < 0 || o.sinks < 0)
    return none;
  const int64_t frames = (o.offset + o.queries + o.tokens - 1) / o.tokens;
  const bool sees_all = o.window == 0 || o.window >= frames;
  FrameMask mask;
  mask.tokens = static_cast<int>(o.tokens);
  mask.window = sees_all ? 0 : static_cast<int>(o.window);
  mask.sinks = sees_all ? 0 : static_cast<int>(o.sinks < frames ? o.sinks : frames);
  mask.offset = static_cast<int>(o.offset);
  mask.queries = static_cast<int>(o.queries);
  mask.keys = static_cast<int>(o.keys);
  return mask;
}

/// Pairs of a query and a key that see each other: what work is counted by.
constexpr int64_t pairs_of(const FrameMask& mask) {
  int64_t pairs = 0;
  for (int q = 0; q < mask.queries;) {  // all queries of a frame see the same keys
    const int next = (mask.frame_of_query(q) + 1) * mask.tokens - mask.offset;
    const int end = smaller(next, mask.queries);
    pairs += int64_t{end - q} * mask.keys_of({q, q + 1}).size();
    q = end;
  }
  return pairs;
}

/// The order in which the tiles of all problems (a head of a sequence) are taken by the blocks of a
/// grid. The longest first, so that the last round is short: blocks take all problems of a group
/// tile by tile. A group holds as many problems as keep their operands in the second-level cache.
struct TileOrder {
  int64_t problems = 0;
  int64_t tiles = 0;            // of a problem
  int64_t group = 1;            // problems, at least 1
  bool longest_is_last = true;  // query tiles: later ones see more keys; key tiles: fewer queries
  struct Unit {
    int64_t problem;
    int64_t tile;
  };
  constexpr PRAXINO_HOST_DEVICE int64_t blocks() const { return problems * tiles; }
  /// REQUIRES: fewer than 2^31 blocks. A GPU divides 32 bits by far faster than 64.
  constexpr PRAXINO_HOST_DEVICE Unit unit(int64_t block) const {
    const auto all = static_cast<uint32_t>(problems), of_problem = static_cast<uint32_t>(tiles);
    const uint32_t most = group < problems ? static_cast<uint32_t>(group) : all;
    const auto at = static_cast<uint32_t>(block);
    const uint32_t number = at / (most * of_problem), rest = at - number * most * of_problem;
    const uint32_t left = all - number * most, wide = left < most ? left : most;
    const uint32_t rank = rest / wide;
    return {number * most + (rest - rank * wide), longest_is_last ? of_problem - 1 - rank : rank};
  }
};

/// Which tiles the blocks of a grid take, round by round, where there are fewer blocks than tiles.
/// Spans of tiles whose work shrinks from the first to the last begin with a round of their own and
/// end with short ones; every second round runs backwards, so that who came late to the longest
/// comes early to the next.
struct TileRounds {
  int64_t units = 0;  // fewer than 2^31
  int64_t span = 1;   // units, at least 1
  int64_t blocks = 1;
  constexpr PRAXINO_HOST_DEVICE uint32_t of_span() const {
    return static_cast<uint32_t>((span + blocks - 1) / blocks);
  }
  /// How many rounds there are.
  constexpr PRAXINO_HOST_DEVICE uint32_t rounds() const {
    const int64_t whole = units / span, rest = units - whole * span;
    return static_cast<uint32_t>(whole) * of_span() +
           static_cast<uint32_t>((rest + blocks - 1) / blocks);
  }
  /// The block's in round number `round`; none where it is -1.
  constexpr PRAXINO_HOST_DEVICE int64_t unit(int64_t block, uint32_t round) const {
    const uint32_t number = round / of_span(), inside = round - number * of_span();
    const int64_t place = inside * blocks + (round % 2 == 0 ? block : blocks - 1 - block);
    const int64_t unit = number * span + place;
    return place < span && unit < units ? unit : -1;
  }
};

/// Problems of a group, for operands of `bytes` a problem: what half of the smallest second-level
/// cache of today's large chips (40 MiB) holds.
constexpr PRAXINO_HOST_DEVICE int64_t problems_in_cache(int64_t bytes) {
  constexpr int64_t kCache = int64_t{20} << 20;
  return bytes >= kCache ? 1 : kCache / (bytes < 1 ? 1 : bytes);
}

}  // namespace praxino::kernels
