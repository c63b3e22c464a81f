#include "kernels/patchify.h"

#include "kernels/device/patch_strips.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

// A strip's place in memory.
template <class Pixel>
struct Runs {
  Pixel* pixels;
  PictureStrides strides;
  SmallDivisor patch;
  PRAXINO_DEVICE Pixel* operator()(int run) const {
    return pixels + offset_of_run(run, patch, strides);
  }
  // Where a run begins in shared memory; from the low bits alone.
  PRAXINO_DEVICE int phase(int run) const {
    return (phase_of(pixels) + phase_of_run(run, patch, strides)) % static_cast<int>(kUnit);
  }
};

// kVector elements of tokens at a time, of which kRun at a time are neighbours in the picture.
template <class T, int kVector, int kRun>
PRAXINO_KERNEL(kStripThreads)
patchify_kernel(InStrips<Patchify> in) {
  const Patchify& p = in.p;
  const int64_t columns = in.columns, strips = all_strips(p.grid, columns);
  const int runs = static_cast<int>(p.grid.channels * p.grid.patch);
  const int pitch = static_cast<int>(in.pitch.by() * kUnit);
  for (int64_t number = block_index(); number < strips; number += grid_blocks()) {
    const Strip strip = in.strip(number);
    const Runs<const uint8_t> run_at{p.pixels + first_of_pixels(strip, p.grid, p.strides),
                                     p.strides, in.by.patch};
    stage_runs(strip_memory(), in.pitch, runs, static_cast<int>(strip.columns * p.grid.patch),
               run_at);
    commit_copies();
    wait_copies<0>();
    sync_block();
    T* tokens = static_cast<T*>(p.tokens) + first_of_tokens(strip, p.grid);
    const uint32_t elements = static_cast<uint32_t>(strip.columns) * in.token.by();
    for (uint32_t i = static_cast<uint32_t>(thread_index()) * kVector; i < elements;
         i += kStripThreads * kVector) {
      Vector<kVector> values;
      PRAXINO_UNROLL
      for (int piece = 0; piece < kVector; piece += kRun) {
        const StripPixel at = strip_pixel(i + static_cast<uint32_t>(piece), in.by.patch, in.token);
        uint32_t levels[kRun];
        load_pixels(strip_memory() + at.run * pitch + run_at.phase(at.run) + at.x, levels);
        PRAXINO_UNROLL
        for (int j = 0; j < kRun; ++j)
          values.v[piece + j] = normalized_pixel(static_cast<float>(levels[j]));
      }
      store_vector(tokens + i, values);
    }
    sync_block();  // before the strip's memory is used again
  }
}

template <class T, int kVector, int kRun>
PRAXINO_KERNEL(kStripThreads)
unpatchify_kernel(InStrips<Unpatchify> in) {
  const Unpatchify& p = in.p;
  const int64_t columns = in.columns, strips = all_strips(p.grid, columns);
  const int runs = static_cast<int>(p.grid.channels * p.grid.patch);
  const int pitch = static_cast<int>(in.pitch.by() * kUnit);
  for (int64_t number = block_index(); number < strips; number += grid_blocks()) {
    const Strip strip = in.strip(number);
    const Runs<uint8_t> run_at{p.pixels + first_of_pixels(strip, p.grid, p.strides), p.strides,
                               in.by.patch};
    const T* tokens = static_cast<const T*>(p.tokens) + first_of_tokens(strip, p.grid);
    const uint32_t elements = static_cast<uint32_t>(strip.columns) * in.token.by();
    for (uint32_t i = static_cast<uint32_t>(thread_index()) * kVector; i < elements;
         i += kStripThreads * kVector) {
      const Vector<kVector> values = load_vector<kVector>(tokens + i);
      PRAXINO_UNROLL
      for (int piece = 0; piece < kVector; piece += kRun) {
        const StripPixel at = strip_pixel(i + static_cast<uint32_t>(piece), in.by.patch, in.token);
        uint32_t levels[kRun];
        PRAXINO_UNROLL
        for (int j = 0; j < kRun; ++j)
          levels[j] =
              static_cast<uint32_t>(nearest_level((values.v[piece + j] + 1.0F) * 127.5F).number);
        store_pixels(strip_memory() + at.run * pitch + run_at.phase(at.run) + at.x, levels);
      }
    }
    sync_block();
    write_runs(strip_memory(), in.pitch, runs, static_cast<int>(strip.columns * p.grid.patch),
               run_at);
    sync_block();  // before the strip's memory is used again
  }
}

template <class T, int kVector, int kRun>
struct PatchifyKernels {
  static constexpr auto kKernel = patchify_kernel<T, kVector, kRun>;
};
template <class T, int kVector, int kRun>
struct UnpatchifyKernels {
  static constexpr auto kKernel = unpatchify_kernel<T, kVector, kRun>;
};

StripShape strip_shape(const PatchGrid& grid) {
  const int64_t columns = strip_columns(grid);
  return {columns, strip_bytes(grid, columns), grid.token()};
}

}  // namespace

Status launch_patchify(const Patchify& p, Stream stream) {
  if (!in_range(p.grid)) return kRefused;
  if (p.grid.elements() == 0) return {};
  return launch_strips("patchify", p, strip_shape(p.grid), kernel_for<PatchifyKernels>(p), stream);
}

Status launch_unpatchify(const Unpatchify& p, Stream stream) {
  if (!in_range(p.grid)) return kRefused;
  if (p.grid.elements() == 0) return {};
  return launch_strips("unpatchify", p, strip_shape(p.grid), kernel_for<UnpatchifyKernels>(p),
                       stream);
}

}  // namespace praxino::kernels
