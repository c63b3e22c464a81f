#pragma once
// 4:2:0 pictures: which chroma samples a pixel is made of, and what a strip of patches needs of
// them (kernels/patch_grid.h).
//
// A chroma sample lies in the middle of its two by two pixels. A pixel lies a quarter of a sample
// away from the middle of its own and takes three quarters of it and one of the next, in each
// direction; at the border the last sample serves again. A picture of odd size has half a sample
// more.

#include "kernels/patch_grid.h"

namespace praxino::kernels {

constexpr PRAXINO_HOST_DEVICE int64_t chroma_samples(int64_t pixels) { return (pixels + 1) / 2; }

struct ChromaTap {
  int64_t first;
  int64_t second;
  int weight;  // of the second, in quarters
};

constexpr PRAXINO_HOST_DEVICE int64_t chroma_inside(int64_t at, int64_t samples) {
  return at < 0 ? 0 : at < samples ? at : samples - 1;
}

/// Along one direction, of `samples` samples.
constexpr PRAXINO_HOST_DEVICE ChromaTap chroma_tap(int64_t pixel, int64_t samples) {
  const int64_t first = (pixel + 1) / 2 - 1;
  return {chroma_inside(first, samples), chroma_inside(first + 1, samples), pixel % 2 == 0 ? 3 : 1};
}

/// The samples that pixels [begin, end) are made of.
struct ChromaSpan {
  int64_t begin;
  int64_t end;
};

constexpr PRAXINO_HOST_DEVICE ChromaSpan chroma_span(int64_t begin, int64_t end, int64_t samples) {
  return {chroma_tap(begin, samples).first, chroma_tap(end - 1, samples).second + 1};
}

/// Most samples that so many neighbouring pixels are made of.
constexpr PRAXINO_HOST_DEVICE int64_t most_samples(int64_t pixels) { return pixels / 2 + 2; }

/// Shared memory of a strip: its runs of luma, then of U, then of V.
constexpr PRAXINO_HOST_DEVICE int64_t yuv_strip_bytes(const PatchGrid& grid, int64_t columns) {
  const int64_t pixels = columns * grid.patch;
  return grid.patch * strip_pitch(pixels) +
         2 * most_samples(grid.patch) * strip_pitch(most_samples(pixels));
}

constexpr PRAXINO_HOST_DEVICE int64_t yuv_strip_columns(const PatchGrid& grid) {
  return patches_that_fit(grid.columns, [&](int64_t n) { return yuv_strip_bytes(grid, n); });
}

}  // namespace praxino::kernels
