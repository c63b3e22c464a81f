#pragma once
// Rows sorted by code, in chunks: which runs of equal codes lie inside a chunk, and where the parts
// of those that do not are left.
//
// A chunk leaves the sum of its first run as its head where the run began before or ends with the
// chunk, and the sum of its last run as its tail where that goes on (or ends with it) and is not
// the first. What is neither is whole and goes straight to its code.

#include <cstdint>

#include "kernels/host_device.h"

namespace praxino::kernels {

inline constexpr int64_t kRunChunk = 64;  // rows

constexpr PRAXINO_HOST_DEVICE int64_t run_chunks(int64_t rows) {
  return (rows + kRunChunk - 1) / kRunChunk;
}

/// Floats: a head and a tail for each chunk.
constexpr PRAXINO_HOST_DEVICE int64_t code_sums_workspace(int64_t rows, int64_t width) {
  return 2 * run_chunks(rows) * width;
}

/// Where a chunk leaves the sum of rows [begin, end) of one code, a run as far as the chunk goes:
/// 0, its head; 1, its tail; -1, nowhere: the run is whole.
constexpr PRAXINO_HOST_DEVICE int place_of_run(int64_t begin, int64_t end, int64_t rows) {
  const bool first = begin % kRunChunk == 0, last = end % kRunChunk == 0 || end == rows;
  return first ? 0 : last ? 1 : -1;
}

/// Whether the rows [begin, end) of a code are left in parts, and the chunks [first, last] that
/// hold them.
struct RunParts {
  bool in_parts;
  int64_t first;
  int64_t last;
};

constexpr PRAXINO_HOST_DEVICE RunParts parts_of_run(int64_t begin, int64_t end, int64_t rows) {
  const int64_t first = begin / kRunChunk, last = end == begin ? first : (end - 1) / kRunChunk;
  return {end > begin && (first != last || place_of_run(begin, end, rows) >= 0), first, last};
}

/// Where chunk `chunk` of those left its part of rows from `begin` on: 0 or 1 as above.
constexpr PRAXINO_HOST_DEVICE int place_in_chunk(int64_t begin, int64_t chunk) {
  return begin > chunk * kRunChunk ? 1 : 0;
}

}  // namespace praxino::kernels
