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
                                       int64_t frame, int64_t time) {
  const int64_t clip = frame / time;
  return first + clip * strides.batch + (frame - clip * time) * strides.time;
}

// The chroma window of a strip, in samples of the picture.
struct Window {
  ChromaSpan rows, columns;
  int64_t height, width;  // samples of the picture
};

/// Chroma of kRun neighbouring pixels, in sixteenths: sums of nine, three, three and one samples'
/// shares. More than one pixel begin at an even place.
template <int kRun>
PRAXINO_DEVICE void chroma_of(const PlaneRuns& plane, const Window& window, int64_t y, int64_t x,
                              int (&sixteenths)[kRun]) {
  constexpr int kColumns = kRun == 1 ? 2 : kRun / 2 + 2;
  const ChromaTap across = chroma_tap(x, window.width), down = chroma_tap(y, window.height);
  const uint8_t* upper = plane.staged(static_cast<int>(down.first - window.rows.begin));
  const uint8_t* lower = plane.staged(static_cast<int>(down.second - window.rows.begin));
  const int64_t first = (x + 1) / 2 - 1;
  int quarters[kColumns];
  PRAXINO_UNROLL
  for (int i = 0; i < kColumns; ++i) {
    const int at = static_cast<int>(chroma_inside(first + i, window.width) - window.columns.begin);
    quarters[i] = (4 - down.weight) * load(upper + at) + down.weight * load(lower + at);
  }
  if constexpr (kRun == 1) {
    sixteenths[0] = (4 - across.weight) * quarters[0] + across.weight * quarters[1];
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
  for (int i = 0; i < 3; ++i)
    rgb.channel[i] = normalized_pixel(static_cast<float>(nearest_level(levels[i])));
  return rgb;
}

PRAXINO_DEVICE Window window_of(const Strip& strip, const PatchGrid& grid) {
  const int64_t height = chroma_samples(grid.height()), width = chroma_samples(grid.width());
  const int64_t top = strip.row * grid.patch, left = strip.column * grid.patch;
  return {chroma_span(top, top + grid.patch, height),
          chroma_span(left, left + strip.columns * grid.patch, width), height, width};
}

template <class T, int kVector, int kRun>
PRAXINO_KERNEL(kStripThreads)
patchify_yuv_kernel(InStrips<PatchifyYuv> in) {
  const PatchifyYuv& p = in.p;
  const int64_t strips = all_strips(p.grid, in.columns), patch = p.grid.patch;
  const int pitch = static_cast<int>(strip_pitch(in.columns * patch));
  const int chroma_pitch = static_cast<int>(strip_pitch(most_samples(in.columns * patch)));
  const uint32_t area = static_cast<uint32_t>(patch * patch);
  for (int64_t number = block_index(); number < strips; number += grid_blocks()) {
    const Strip strip = strip_at(number, p.grid, in.columns);
    const Window window = window_of(strip, p.grid);
    const int64_t top = strip.row * patch, left = strip.column * patch;
    const int64_t corner = window.rows.begin * p.chroma.row + window.columns.begin;
    const PlaneRuns luma{plane_of(p.y, p.luma, strip.frame, p.grid.time) + top * p.luma.row + left,
                         p.luma.row, strip_memory(), pitch};
    const PlaneRuns u{plane_of(p.u, p.chroma, strip.frame, p.grid.time) + corner, p.chroma.row,
                      luma.shared + patch * pitch, chroma_pitch};
    const PlaneRuns v{plane_of(p.v, p.chroma, strip.frame, p.grid.time) + corner, p.chroma.row,
                      u.shared + most_samples(patch) * chroma_pitch, chroma_pitch};
    const int rows = static_cast<int>(window.rows.end - window.rows.begin);
    const int samples = static_cast<int>(window.columns.end - window.columns.begin);
    stage_runs(luma.shared, pitch, static_cast<int>(patch), static_cast<int>(strip.columns * patch),
               luma);
    stage_runs(u.shared, chroma_pitch, rows, samples, u);
    stage_runs(v.shared, chroma_pitch, rows, samples, v);
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
        const StripPixel at =
            strip_pixel(i + static_cast<uint32_t>(piece), static_cast<uint32_t>(patch), area);
        uint32_t levels[kRun];
        int u16[kRun], v16[kRun];
        load_pixels(luma.staged(at.run) + at.x, levels);
        chroma_of(u, window, top + at.run, left + at.x, u16);
        chroma_of(v, window, top + at.run, left + at.x, v16);
        PRAXINO_UNROLL
        for (int j = 0; j < kRun; ++j) {
          const Rgb rgb = rgb_tokens(levels[j], u16[j], v16[j], p.color);
          PRAXINO_UNROLL
          for (int c = 0; c < 3; ++c) values[c].v[piece + j] = rgb.channel[c];
        }
      }
      // A token has the three channels of its square one after another.
      T* to = tokens + i + 2 * (i / area) * area;
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
  return launch_strips("patchify_yuv", p, {columns, yuv_strip_bytes(p.grid, columns)},
                       kernel_for<PatchifyYuvKernels>(p), stream);
}

}  // namespace praxino::kernels
