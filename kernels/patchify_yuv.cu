#include "kernels/patchify_yuv.h"

#include "kernels/device/patch_strips.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

// What a strip needs of a plane, in memory and, from `shared` on, in the block's shared memory.
struct PlaneRuns {
  const uint8_t* samples;  // the first of the first run
  int64_t stride;
  uint8_t* shared;
  int pitch;
  PRAXINO_DEVICE const uint8_t* operator()(int run) const { return samples + run * stride; }
  // Where a run lies in shared memory; its phase from the low bits alone.
  PRAXINO_DEVICE const uint8_t* staged(int run) const {
    const uint32_t low = static_cast<uint32_t>(run) * static_cast<uint32_t>(stride) +
                         static_cast<uint32_t>(phase_of(samples));
    return shared + run * pitch + low % static_cast<uint32_t>(kUnit);
  }
};

PRAXINO_DEVICE const uint8_t* plane_of(const uint8_t* first, const PlaneStrides& strides,
                                       const Strip& strip) {
  return first + strip.clip * strides.batch + strip.moment * strides.time;
}

// The chroma window of a strip: samples of the picture.
struct Window {
  ChromaSpan rows, columns;
};

// The same along one direction, seen from the strip's first pixel: 32 bits hold it.
struct Samples {
  int odd;     // 1 where that pixel stands at an odd place of the picture
  int before;  // the sample before its own, counted from the window's first; perhaps -1
  int last;    // of the window
  PRAXINO_DEVICE int first_of(int pixel) const { return (odd + pixel + 1) / 2 + before; }
  PRAXINO_DEVICE int weight_of(int pixel) const { return (odd + pixel) % 2 == 0 ? 3 : 1; }
  /// Beyond the window lies nothing that its pixels are made of but what lies beyond the picture.
  PRAXINO_DEVICE int inside(int at) const { return at < 0 ? 0 : at < last ? at : last; }
};

PRAXINO_DEVICE Samples samples_of(int64_t first_pixel, const ChromaSpan& span) {
  const int64_t odd = first_pixel % 2;
  return {static_cast<int>(odd), static_cast<int>((first_pixel - odd) / 2 - 1 - span.begin),
          static_cast<int>(span.end - 1 - span.begin)};
}

/// Chroma of kRun neighbouring pixels, in sixteenths: sums of nine, three, three and one samples'
/// shares. More than one pixel begin at an even place.
template <int kRun>
PRAXINO_DEVICE void chroma_of(const PlaneRuns& plane, const Samples& down, const Samples& across,
                              const StripPixel& pixel, int (&sixteenths)[kRun]) {
  constexpr int kColumns = kRun == 1 ? 2 : kRun / 2 + 2;
  const int above = down.first_of(pixel.run), first = across.first_of(pixel.x);
  const int down_weight = down.weight_of(pixel.run), across_weight = across.weight_of(pixel.x);
  const uint8_t* upper = plane.staged(down.inside(above));
  const uint8_t* lower = plane.staged(down.inside(above + 1));
  int quarters[kColumns];
  PRAXINO_UNROLL
  for (int i = 0; i < kColumns; ++i) {
    const int at = across.inside(first + i);
    quarters[i] = (4 - down_weight) * load(upper + at) + down_weight * load(lower + at);
  }
  if constexpr (kRun == 1) {
    sixteenths[0] = (4 - across_weight) * quarters[0] + across_weight * quarters[1];
  } else {
    PRAXINO_UNROLL
    for (int i = 0; i < kRun; ++i) {
      const int weight = i % 2 == 0 ? 3 : 1, from = (i + 1) / 2;
      sixteenths[i] = (4 - weight) * quarters[from] + weight * quarters[from + 1];
    }
  }
}

struct Rgb {
  float channel[3];
};

// To tokens; each product rounded by itself, as the formula does.
PRAXINO_DEVICE Rgb rgb_tokens(uint32_t luma, int u16, int v16, const YuvToRgb& c) {
  const float l = multiply_rounded(static_cast<float>(luma) - c.luma_offset, c.luma_scale);
  const float u = static_cast<float>(u16 - 16 * 128) * 0.0625F;
  const float v = static_cast<float>(v16 - 16 * 128) * 0.0625F;
  const float levels[3] = {l + multiply_rounded(v, c.red_v),
                           l + multiply_rounded(u, c.green_u) + multiply_rounded(v, c.green_v),
                           l + multiply_rounded(u, c.blue_u)};
  Rgb rgb;
  PRAXINO_UNROLL
  for (int i = 0; i < 3; ++i) rgb.channel[i] = normalized_pixel(nearest_level(levels[i]).value);
  return rgb;
}

PRAXINO_DEVICE Window window_of(const Strip& strip, const PatchGrid& grid) {
  const int64_t height = chroma_samples(grid.height()), width = chroma_samples(grid.width());
  const int64_t top = strip.row * grid.patch, left = strip.column * grid.patch;
  return {chroma_span(top, top + grid.patch, height),
          chroma_span(left, left + strip.columns * grid.patch, width)};
}

template <class T, int kVector, int kRun>
PRAXINO_KERNEL(kStripThreads)
patchify_yuv_kernel(InStrips<PatchifyYuv> in) {
  const PatchifyYuv& p = in.p;
  const int64_t strips = all_strips(p.grid, in.columns), patch = p.grid.patch;
  const int pitch = static_cast<int>(in.pitch.by() * kUnit);
  const int chroma_pitch = static_cast<int>(in.narrower_pitch.by() * kUnit);
  const uint32_t area = in.token.by();
  for (int64_t number = block_index(); number < strips; number += grid_blocks()) {
    const Strip strip = in.strip(number);
    const Window window = window_of(strip, p.grid);
    const int64_t top = strip.row * patch, left = strip.column * patch;
    const int64_t corner = window.rows.begin * p.chroma.row + window.columns.begin;
    const PlaneRuns luma{plane_of(p.y, p.luma, strip) + top * p.luma.row + left, p.luma.row,
                         strip_memory(), pitch};
    const PlaneRuns u{plane_of(p.u, p.chroma, strip) + corner, p.chroma.row,
                      luma.shared + patch * pitch, chroma_pitch};
    const PlaneRuns v{plane_of(p.v, p.chroma, strip) + corner, p.chroma.row,
                      u.shared + most_samples(patch) * chroma_pitch, chroma_pitch};
    const Samples down = samples_of(top, window.rows), across = samples_of(left, window.columns);
    const int rows = down.last + 1, samples = across.last + 1;
    stage_runs(luma.shared, in.pitch, static_cast<int>(patch),
               static_cast<int>(strip.columns * patch), luma);
    stage_runs(u.shared, in.narrower_pitch, rows, samples, u);
    stage_runs(v.shared, in.narrower_pitch, rows, samples, v);
    commit_copies();
    wait_copies<0>();
    sync_block();
    T* tokens = static_cast<T*>(p.tokens) + first_of_tokens(strip, p.grid);
    const uint32_t pixels = static_cast<uint32_t>(strip.columns) * area;
    for (uint32_t i = static_cast<uint32_t>(thread_index()) * kVector; i < pixels;
         i += kStripThreads * kVector) {
      Vector<kVector> values[3];
      PRAXINO_UNROLL
      for (int piece = 0; piece < kVector; piece += kRun) {
        const StripPixel at = strip_pixel(i + static_cast<uint32_t>(piece), in.by.patch, in.token);
        uint32_t levels[kRun];
        int u16[kRun], v16[kRun];
        load_pixels(luma.staged(at.run) + at.x, levels);
        chroma_of(u, down, across, at, u16);
        chroma_of(v, down, across, at, v16);
        PRAXINO_UNROLL
        for (int j = 0; j < kRun; ++j) {
          const Rgb rgb = rgb_tokens(levels[j], u16[j], v16[j], p.color);
          PRAXINO_UNROLL
          for (int c = 0; c < 3; ++c) values[c].v[piece + j] = rgb.channel[c];
        }
      }
      // A token has the three channels of its square one after another.
      T* to = tokens + i + 2 * in.token.quotient(i) * area;
      PRAXINO_UNROLL
      for (int c = 0; c < 3; ++c) store_vector(to + c * area, values[c]);
    }
    sync_block();  // before the strip's memory is used again
  }
}

template <class T, int kVector, int kRun>
struct PatchifyYuvKernels {
  static constexpr auto kKernel = patchify_yuv_kernel<T, kVector, kRun>;
};

}  // namespace

Status launch_patchify_yuv(const PatchifyYuv& p, Stream stream) {
  if (!in_range(p.grid) || p.grid.channels != 3) return kRefused;
  if (p.grid.elements() == 0) return {};
  const int64_t columns = yuv_strip_columns(p.grid);
  const StripShape shape{columns, yuv_strip_bytes(p.grid, columns), p.grid.patch * p.grid.patch,
                         strip_pitch(most_samples(columns * p.grid.patch))};
  return launch_strips("patchify_yuv", p, shape, kernel_for<PatchifyYuvKernels>(p), stream);
}

}  // namespace praxino::kernels
