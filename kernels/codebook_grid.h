#pragma once
// How the search for the nearest entry of a codebook is cut up, and what it may leave out.
//
// Scores are x . c - |c|^2 / 2: the largest is the nearest. They are computed from x and c rounded
// to bfloat16; how far such a score can be from the true one follows from how far rows and entries
// moved (score_error). Every lane of the search keeps the two best entries that it saw, and the
// third best score. An entry whose score is further below the best than twice the error is not the
// nearest; so if that holds for every third score, the nearest is among the kept ones, and else the
// row is searched again, in full.

#include <cstdint>

#include "kernels/host_device.h"

namespace praxino::kernels {

inline constexpr int64_t kMaxCodes = 65536;
inline constexpr int64_t kMaxCodeWidth = 256;
inline constexpr int kSearchThreads = 256;
inline constexpr int kSearchRows = 256;  // of a block: 32 a warp
inline constexpr int kListsOfRow = 4;    // lanes of a warp that share a row

constexpr PRAXINO_HOST_DEVICE bool codebook_in_range(int64_t rows, int64_t codes, int64_t width) {
  return rows >= 0 && rows < kSearchRows * (int64_t{1} << 31) && codes >= 1 && codes <= kMaxCodes &&
         width >= 16 && width <= kMaxCodeWidth && width % 16 == 0;
}

/// Width of the rounded codebook: 32, 64, 128 or 256, filled up with zeros.
constexpr PRAXINO_HOST_DEVICE int padded_code_width(int64_t width) {
  int padded = 32;
  while (padded < width) padded *= 2;
  return padded;
}

/// Codes that shared memory holds at a time; twice that is under way.
constexpr PRAXINO_HOST_DEVICE int codes_of_tile(int padded_width) {
  return padded_width <= 128 ? 64 : 32;
}

/// Entries of the rounded codebook: whole tiles of every kernel. What is beyond the last has a
/// score of minus infinity.
constexpr PRAXINO_HOST_DEVICE int64_t padded_codes(int64_t codes) {
  constexpr int64_t kLargestTile = 128;
  return (codes + kLargestTile - 1) / kLargestTile * kLargestTile;
}

/// Where unit `unit` (16 bytes) of an entry lies in a tile of shared memory, in units: eight
/// entries' units of one number are in eight different groups of banks.
constexpr PRAXINO_HOST_DEVICE int tile_unit(int code, int unit, int padded_width) {
  const int units = padded_width / 8;
  return code * units + (units >= 8 ? unit ^ (code % 8) : unit ^ (code / 2 % 4));
}

/// Bytes of shared memory of a tile: entries, then half squared norms.
constexpr PRAXINO_HOST_DEVICE int64_t tile_bytes(int padded_width) {
  return codes_of_tile(padded_width) * (2 * padded_width + 4);
}

/// Parts of the workspace, in bytes from its beginning, each a multiple of 16.
struct NearestCodeParts {
  int64_t book;     // rounded entries: padded codes x padded width of bfloat16
  int64_t halves;   // - |c|^2 / 2: padded codes floats
  int64_t spreads;  // |rounded c|^2 and |c - rounded c|^2: padded codes x 2 floats
  int64_t bounds;   // CodebookBounds
  int64_t lists;    // rows x kListsOfRow x 16
  int64_t end;
};

constexpr PRAXINO_HOST_DEVICE NearestCodeParts nearest_code_parts(int64_t rows, int64_t codes,
                                                                  int64_t width) {
  const int64_t padded = padded_codes(codes);
  NearestCodeParts parts{};
  parts.halves = padded * padded_code_width(width) * 2;
  parts.spreads = parts.halves + padded * 4;
  parts.bounds = parts.spreads + padded * 8;
  parts.lists = parts.bounds + 16;
  parts.end = parts.lists + rows * kListsOfRow * 16;
  return parts;
}

/// Over all entries, none smaller than the truth.
struct CodebookBounds {
  float norm;   // of a rounded entry
  float moved;  // distance of an entry from its rounded one
  float half;   // half of an entry's squared norm
  float none;
};

/// Most that a score can be off, for a row of length `norm` that is `moved` away from its rounded
/// one; both may be a little, 1e-4 of them, too small.
///
/// x . c - x' . c' = (x - x') . c' + x . (c - c'), hence the first two terms, by Cauchy and
/// Schwarz. The third is for sums in float: tensor cores add up in an order and with a rounding
/// that nobody promises. Each of the `width` products and the start, -|c|^2 / 2, may lose one unit
/// in the last place of the largest partial sum, which |x'||c'| + |c|^2 / 2 bounds: 2^-23 each; we
/// take four times that. The half norm is a sum of floats itself: 2^-18 of it is more than its
/// rounding. The last term is for what underflows.
constexpr PRAXINO_HOST_DEVICE double score_error(double norm, double moved,
                                                 const CodebookBounds& book, int64_t width) {
  const double of_sums = static_cast<double>(width) * 0x1p-21 + 0x1p-18;
  const double sums =
      (norm + moved) * static_cast<double>(book.norm) + static_cast<double>(book.half);
  return 1.001 * (moved * static_cast<double>(book.norm) + norm * static_cast<double>(book.moved) +
                  of_sums * sums) +
         0x1p-100;
}

}  // namespace praxino::kernels
