#pragma once
// Pictures as patches: where the pixels of a token lie, and how patches are spread over blocks.
//
// Token (row, column) of a frame holds its square of patch x patch pixels in the order channel,
// row, column. A block takes a strip: some neighbouring patches of one row of patches, that is
// channels x patch runs of pixels in memory on one side and one run of tokens on the other. The
// runs of pixels go through shared memory, so that both sides are accessed 16 bytes at a time
// wherever they begin: in shared memory a run lies as it does globally, as far from a multiple of
// 16 bytes (its phase).

#include <cstddef>
#include <cstdint>

#include "kernels/division.h"
#include "kernels/host_device.h"
#include "kernels/small_division.h"

namespace praxino::kernels {

inline constexpr int kStripThreads = 256;
inline constexpr int64_t kStripBytes = 24 * 1024;     // of shared memory, if a patch fits that
inline constexpr int64_t kMaxStripBytes = 48 * 1024;  // in any case
inline constexpr int64_t kUnit = 16;                  // bytes of an access

struct PatchGrid {
  int64_t batch = 0;
  int64_t time = 0;  // frames of a clip
  int64_t rows = 0;  // of patches
  int64_t columns = 0;
  int64_t channels = 3;
  int64_t patch = 0;  // side of a patch in pixels
  constexpr PRAXINO_HOST_DEVICE int64_t frames() const { return batch * time; }
  constexpr PRAXINO_HOST_DEVICE int64_t height() const { return rows * patch; }
  constexpr PRAXINO_HOST_DEVICE int64_t width() const { return columns * patch; }
  constexpr PRAXINO_HOST_DEVICE int64_t token() const { return channels * patch * patch; }
  constexpr PRAXINO_HOST_DEVICE int64_t elements() const {
    return frames() * rows * columns * token();
  }
};

/// Elements from one pixel to the next of the same kind; pixels of a row are neighbours.
struct PictureStrides {
  int64_t batch = 0;
  int64_t time = 0;
  int64_t channel = 0;
  int64_t row = 0;
};

constexpr PRAXINO_HOST_DEVICE PictureStrides contiguous_strides(const PatchGrid& grid) {
  const int64_t plane = grid.height() * grid.width(), frame = grid.channels * plane;
  return {grid.time * frame, frame, plane, grid.width()};
}

/// Bytes of shared memory between two runs of `bytes` pixels: room for any phase, and an odd number
/// of units, so that eight runs lie in different banks.
constexpr PRAXINO_HOST_DEVICE int64_t strip_pitch(int64_t bytes) {
  return kUnit * ((bytes + 2 * (kUnit - 1)) / kUnit | 1);
}

constexpr PRAXINO_HOST_DEVICE int64_t units_of_pitch(int64_t pitch) { return pitch / kUnit; }

/// Shared memory of a strip of so many patches.
constexpr PRAXINO_HOST_DEVICE int64_t strip_bytes(const PatchGrid& grid, int64_t columns) {
  return grid.channels * grid.patch * strip_pitch(columns * grid.patch);
}

constexpr PRAXINO_HOST_DEVICE bool in_range(const PatchGrid& grid) {
  constexpr int64_t kMost = int64_t{1} << 31;
  if (grid.batch < 0 || grid.time < 0 || grid.rows < 0 || grid.columns < 0) return false;
  if (grid.batch > kMost || grid.time > kMost || grid.rows > kMost || grid.columns > kMost)
    return false;
  if (grid.channels < 1 || grid.channels > 4096 || grid.patch < 1 || grid.patch > 4096)
    return false;
  if (strip_bytes(grid, 1) > kMaxStripBytes) return false;
  int64_t room = INT64_MAX / 16 / grid.token();  // elements that can be counted
  const int64_t factors[] = {grid.batch, grid.time, grid.rows, grid.columns};
  for (const int64_t factor : factors) room = factor == 0 ? room : room / factor;
  return room > 0;
}

/// Patches of a strip: as many as fit, evenly spread over a row; `bytes_of` is the shared memory of
/// a strip of so many patches.
template <class BytesOf>
constexpr PRAXINO_HOST_DEVICE int64_t patches_that_fit(int64_t columns, BytesOf bytes_of) {
  int64_t most = 1, too_many = columns + 1;
  while (most + 1 < too_many) {
    const int64_t middle = most + (too_many - most) / 2;
    (bytes_of(middle) <= kStripBytes ? most : too_many) = middle;
  }
  const int64_t strips = (columns + most - 1) / most;
  return strips == 0 ? 1 : (columns + strips - 1) / strips;
}

constexpr PRAXINO_HOST_DEVICE int64_t strip_columns(const PatchGrid& grid) {
  return patches_that_fit(grid.columns, [&](int64_t n) { return strip_bytes(grid, n); });
}

/// Strips of `columns` patches, the last of a row perhaps shorter.
constexpr PRAXINO_HOST_DEVICE int64_t all_strips(const PatchGrid& grid, int64_t columns) {
  return grid.frames() * grid.rows * ((grid.columns + columns - 1) / columns);
}

/// What strips are counted by: integer divisions would take longer than the pixels of a strip.
struct StripDivisors {
  Divisor strips;  // of a row of patches
  Divisor rows;    // of patches, of a frame
  Divisor time;    // frames of a clip
  SmallDivisor patch;
};

/// REQUIRES: there are strips.
constexpr StripDivisors strip_divisors(const PatchGrid& grid, int64_t columns) {
  return {Divisor((grid.columns + columns - 1) / columns), Divisor(grid.rows), Divisor(grid.time),
          SmallDivisor(grid.patch)};
}

struct Strip {
  int64_t frame;  // counted over all clips
  int64_t clip;
  int64_t moment;  // the frame in its clip
  int64_t row;     // of patches
  int64_t column;  // the first patch
  int64_t columns;
};

constexpr PRAXINO_HOST_DEVICE Strip strip_at(int64_t number, const PatchGrid& grid, int64_t columns,
                                             const StripDivisors& by) {
  const int64_t line = by.strips.quotient(number);
  const int64_t column = (number - line * by.strips.by()) * columns, left = grid.columns - column;
  const int64_t frame = by.rows.quotient(line), clip = by.time.quotient(frame);
  return {frame,
          clip,
          frame - clip * grid.time,
          line - frame * grid.rows,
          column,
          left < columns ? left : columns};
}

/// The first element of the strip's tokens.
constexpr PRAXINO_HOST_DEVICE int64_t first_of_tokens(const Strip& strip, const PatchGrid& grid) {
  return ((strip.frame * grid.rows + strip.row) * grid.columns + strip.column) * grid.token();
}

/// The first pixel of the strip in channel 0.
constexpr PRAXINO_HOST_DEVICE int64_t first_of_pixels(const Strip& strip, const PatchGrid& grid,
                                                      const PictureStrides& strides) {
  return strip.clip * strides.batch + strip.moment * strides.time +
         strip.row * grid.patch * strides.row + strip.column * grid.patch;
}

/// Where an element of a strip's tokens comes from: a run of pixels (channel x patch + row) and the
/// pixel in it.
struct StripPixel {
  int run;
  int x;
};

constexpr PRAXINO_HOST_DEVICE StripPixel strip_pixel(uint32_t element, const SmallDivisor& patch,
                                                     const SmallDivisor& token) {
  const uint32_t column = token.quotient(element), inside = element - column * token.by();
  const uint32_t run = patch.quotient(inside);
  return {static_cast<int>(run),
          static_cast<int>(column * patch.by() + (inside - run * patch.by()))};
}

/// Run i of a strip is row i % patch of channel i / patch.
constexpr PRAXINO_HOST_DEVICE int64_t offset_of_run(int run, const SmallDivisor& patch,
                                                    const PictureStrides& strides) {
  const auto channel = static_cast<int>(patch.quotient(static_cast<uint32_t>(run)));
  return channel * strides.channel + (run - channel * static_cast<int>(patch.by())) * strides.row;
}

/// The same modulo 16, which 32 bits know.
constexpr PRAXINO_HOST_DEVICE int phase_of_run(int run, const SmallDivisor& patch,
                                               const PictureStrides& strides) {
  const auto at = static_cast<uint32_t>(run);
  const uint32_t channel = patch.quotient(at);
  const uint32_t offset = channel * static_cast<uint32_t>(strides.channel) +
                          (at - channel * patch.by()) * static_cast<uint32_t>(strides.row);
  return static_cast<int>(offset % static_cast<uint32_t>(kUnit));
}

/// Elements that lie side by side in a token and in a picture: what of 8, 4, 1 divides the patch.
constexpr PRAXINO_HOST_DEVICE int run_of_patch(int64_t patch, int most) {
  return patch % most == 0 ? most : patch % 4 == 0 && most > 4 ? 4 : 1;
}

}  // namespace praxino::kernels
