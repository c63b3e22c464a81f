#pragma once
// Loads of which a thread begins many before it looks at the first one. Elements stay as they lie
// in memory until they are needed: what is converted is waited for.

#include "kernels/device/memory.cuh"
#include "kernels/frame_rows.h"

namespace praxino::kernels::device {

/// N neighbours as they lie in memory.
template <class T, int N>
struct RawVector {
  static_assert(N * sizeof(T) % 16 == 0);
  Words words[N * sizeof(T) / 16] = {};
};

/// 16 bytes where `there`, else zeros, and `from` is not looked at. No branch: the loads of several
/// calls are under way together.
PRAXINO_DEVICE Words load_words_or_zero(const void* from, bool there,
                                        [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  Words to;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %5, 0;\n"
      "mov.b32 %0, 0;\n"
      "mov.b32 %1, 0;\n"
      "mov.b32 %2, 0;\n"
      "mov.b32 %3, 0;\n"
      "@p ld.global.v4.b32 {%0, %1, %2, %3}, [%4];\n"
      "}"
      : "=&r"(to.word[0]), "=&r"(to.word[1]), "=&r"(to.word[2]), "=&r"(to.word[3])
      : "l"(from), "r"(static_cast<int>(there)));
  return to;
#else
  return there ? load_words(from, site) : Words{};
#endif
}

/// The same for 8 bytes at a multiple of 8.
PRAXINO_DEVICE uint64_t load_8_or_zero(const void* from, bool there,
                                       [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  uint64_t to;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %2, 0;\n"
      "mov.b64 %0, 0;\n"
      "@p ld.global.b64 %0, [%1];\n"
      "}"
      : "=&l"(to)
      : "l"(from), "r"(static_cast<int>(there)));
  return to;
#else
  return there ? load_raw(static_cast<const uint64_t*>(from), site) : 0;
#endif
}

template <int N, class T>
PRAXINO_DEVICE RawVector<T, N> load_or_zero(const T* from, bool there, Site site = PRAXINO_HERE) {
  RawVector<T, N> to;
  PRAXINO_UNROLL
  for (int i = 0; i < static_cast<int>(N * sizeof(T) / 16); ++i)
    to.words[i] = load_words_or_zero(reinterpret_cast<const char*>(from) + 16 * i, there, site);
  return to;
}

template <int N>
PRAXINO_DEVICE Vector<N> floats_of(const RawVector<float, N>& from) {
  Vector<N> to;
  PRAXINO_UNROLL
  for (int i = 0; i < N; ++i) to.v[i] = float_of(from.words[i / 4].word[i % 4]);
  return to;
}
template <int N>
PRAXINO_DEVICE Vector<N> floats_of(const RawVector<Bf16, N>& from) {
  Vector<N> to;
  PRAXINO_UNROLL
  for (int i = 0; i < N; i += 2) {
    const Vector<2> pair = unpack_bf16(from.words[i / 8].word[i % 8 / 2]);
    to.v[i] = pair.v[0];
    to.v[i + 1] = pair.v[1];
  }
  return to;
}

/// A piece of a row in two halves (kernels/frame_rows.h); columns from `width` on are zeros.
PRAXINO_DEVICE RawVector<float, kRowVector> load_halves(const float* row, const HalfColumns& at,
                                                        int width, Site site = PRAXINO_HERE) {
  return {load_words_or_zero(row + at.first, at.first < width, site),
          load_words_or_zero(row + at.second, at.second < width, site)};
}
PRAXINO_DEVICE RawVector<Bf16, kRowVector> load_halves(const Bf16* row, const HalfColumns& at,
                                                       int width, Site site = PRAXINO_HERE) {
  const uint64_t first = load_8_or_zero(row + at.first, at.first < width, site),
                 second = load_8_or_zero(row + at.second, at.second < width, site);
  return {{{{static_cast<uint32_t>(first), static_cast<uint32_t>(first >> 32),
             static_cast<uint32_t>(second), static_cast<uint32_t>(second >> 32)}}}};
}

PRAXINO_DEVICE void store_halves(float* row, const HalfColumns& at, int width,
                                 const Vector<kRowVector>& from, Site site = PRAXINO_HERE) {
  const auto half = [&](int i) {
    return Words{{bits_of(from.v[i]), bits_of(from.v[i + 1]), bits_of(from.v[i + 2]),
                  bits_of(from.v[i + 3])}};
  };
  if (at.first < width) store_words(row + at.first, half(0), site);
  if (at.second < width) store_words(row + at.second, half(4), site);
}
PRAXINO_DEVICE void store_halves(Bf16* row, const HalfColumns& at, int width,
                                 const Vector<kRowVector>& from, Site site = PRAXINO_HERE) {
  const auto half = [&](int i) {
    const uint64_t low = pack_bf16(from.v[i], from.v[i + 1]);
    return low | uint64_t{pack_bf16(from.v[i + 2], from.v[i + 3])} << 32;
  };
  if (at.first < width) store_raw(reinterpret_cast<uint64_t*>(row + at.first), half(0), site);
  if (at.second < width) store_raw(reinterpret_cast<uint64_t*>(row + at.second), half(4), site);
}

}  // namespace praxino::kernels::device
