#pragma once
// Runs of pixels between global and shared memory (kernels/patch_grid.h), all threads of a block
// together, and what is in them.

#include "kernels/device/copy_async.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/rounding.cuh"
#include "kernels/device/thread.cuh"
#include "kernels/patch_grid.h"

namespace praxino::kernels::device {

/// How far an address is from a multiple of 16.
PRAXINO_DEVICE int phase_of(const void* address) {
  return static_cast<int>(reinterpret_cast<uintptr_t>(address) % kUnit);
}

/// Run i of `runs`, each of `bytes` pixels, from global(i) to shared + i * pitch + its phase, while
/// the thread goes on; whole units by asynchronous copies, which belong to the thread's next group.
/// `pitch` counts units.
template <class Global>
PRAXINO_DEVICE void stage_runs(uint8_t* shared, const SmallDivisor& pitch, int runs, int bytes,
                               Global global, Site site = PRAXINO_HERE) {
  const int units = static_cast<int>(pitch.by());
  for (int i = thread_index(); i < runs * units; i += block_threads()) {
    const auto run = static_cast<int>(pitch.quotient(static_cast<uint32_t>(i)));
    const int begin = (i - run * units) * static_cast<int>(kUnit);
    const uint8_t* from = global(run);
    const int phase = phase_of(from), end = begin + static_cast<int>(kUnit);
    uint8_t* to = shared + run * units * static_cast<int>(kUnit);
    if (begin >= phase && end <= phase + bytes) {
      copy_16_async(to + begin, from - phase + begin, site);
    } else {
      for (int at = begin < phase ? phase : begin; at < end && at < phase + bytes; ++at)
        store(to + at, load(from - phase + at, site), site);
    }
  }
}

/// The way back.
template <class Global>
PRAXINO_DEVICE void write_runs(const uint8_t* shared, const SmallDivisor& pitch, int runs,
                               int bytes, Global global, Site site = PRAXINO_HERE) {
  const int units = static_cast<int>(pitch.by());
  for (int i = thread_index(); i < runs * units; i += block_threads()) {
    const auto run = static_cast<int>(pitch.quotient(static_cast<uint32_t>(i)));
    const int begin = (i - run * units) * static_cast<int>(kUnit);
    uint8_t* to = global(run);
    const int phase = phase_of(to), end = begin + static_cast<int>(kUnit);
    const uint8_t* from = shared + run * units * static_cast<int>(kUnit);
    if (begin >= phase && end <= phase + bytes) {
      store_words(to - phase + begin, load_words(from + begin, site), site);
    } else {
      for (int at = begin < phase ? phase : begin; at < end && at < phase + bytes; ++at)
        store(to - phase + at, load(from + at, site), site);
    }
  }
}

/// kRun neighbouring pixels of shared memory, by words where the address allows it.
template <int kRun>
PRAXINO_DEVICE void load_pixels(const uint8_t* from, uint32_t (&pixels)[kRun],
                                Site site = PRAXINO_HERE) {
  if constexpr (kRun % 4 == 0) {
    if (phase_of(from) % 4 == 0) {
      PRAXINO_UNROLL
      for (int i = 0; i < kRun; i += 4) {
        const uint32_t word = load(reinterpret_cast<const uint32_t*>(from + i), site);
        PRAXINO_UNROLL
        for (int j = 0; j < 4; ++j) pixels[i + j] = word >> (8 * j) & 0xffU;
      }
      return;
    }
  }
  PRAXINO_UNROLL
  for (int i = 0; i < kRun; ++i) pixels[i] = load(from + i, site);
}

template <int kRun>
PRAXINO_DEVICE void store_pixels(uint8_t* to, const uint32_t (&pixels)[kRun],
                                 Site site = PRAXINO_HERE) {
  if constexpr (kRun % 4 == 0) {
    if (phase_of(to) % 4 == 0) {
      PRAXINO_UNROLL
      for (int i = 0; i < kRun; i += 4) {
        uint32_t word = 0;
        PRAXINO_UNROLL
        for (int j = 0; j < 4; ++j) word |= pixels[i + j] << (8 * j);
        store(reinterpret_cast<uint32_t*>(to + i), word, site);
      }
      return;
    }
  }
  PRAXINO_UNROLL
  for (int i = 0; i < kRun; ++i) store(to + i, static_cast<uint8_t>(pixels[i]), site);
}

/// 0 .. 255 to [-1, 1], rounded as two operations of float.
PRAXINO_DEVICE float normalized_pixel(float level) {
  return multiply_rounded(level, static_cast<float>(2.0 / 255.0)) - 1.0F;
}

/// The nearest level, ties to even; NaN becomes 0.
PRAXINO_DEVICE Whole nearest_level(float level) {
  const float clamped = level > 0.0F ? (level < 255.0F ? level : 255.0F) : 0.0F;
  return nearest_product(clamped, 1.0F);
}

}  // namespace praxino::kernels::device
