#pragma once
// Loads and stores, of global and shared memory alike. Kernels dereference no pointer themselves:
// on the CPU these functions are where bounds, races and uninitialised reads are seen. Arithmetic
// is in float whatever the element type.

#include "kernels/bf16.h"
#include "kernels/device/site.cuh"

namespace praxino::kernels::device {

/// N elements as floats.
template <int N>
struct Vector {
  float v[N];
};

/// 16 bytes, the widest that one instruction moves on every architecture.
struct alignas(16) Words {
  uint32_t word[4];
};

/// The same pointer, to global memory: of one that is read from memory, and not a parameter of the
/// kernel, the compiler does not know. Null is allowed.
template <class T>
PRAXINO_DEVICE T* in_global(T* pointer) {
#if defined(__CUDACC__)
  __builtin_assume(__isGlobal(pointer));
#endif
  return pointer;
}

template <class T>
PRAXINO_DEVICE T load_raw(const T* from, [[maybe_unused]] Site site) {
#if defined(__CUDACC__)
  return *from;
#else
  T value;
  cpu::read(from, &value, sizeof(T), site);
  return value;
#endif
}

template <class T>
PRAXINO_DEVICE void store_raw(T* to, const T& value, [[maybe_unused]] Site site) {
#if defined(__CUDACC__)
  *to = value;
#else
  cpu::write(to, &value, sizeof(T), site);
#endif
}

// The device moves one 16-byte integer: structs of four words are split, and not always put
// together again.
PRAXINO_DEVICE Words load_words(const void* from, [[maybe_unused]] Site site) {
#if defined(__CUDACC__)
  return __builtin_bit_cast(Words, *static_cast<const unsigned __int128*>(from));
#else
  return load_raw(static_cast<const Words*>(from), site);
#endif
}

PRAXINO_DEVICE void store_words(void* to, const Words& words, [[maybe_unused]] Site site) {
#if defined(__CUDACC__)
  *static_cast<unsigned __int128*>(to) = __builtin_bit_cast(unsigned __int128, words);
#else
  store_raw(static_cast<Words*>(to), words, site);
#endif
}

/// Four bytes at a multiple of 4: a pair of bfloat16 as pack_bf16() makes it.
PRAXINO_DEVICE uint32_t load_word(const void* from, Site site = PRAXINO_HERE) {
  return load_raw(static_cast<const uint32_t*>(from), site);
}
PRAXINO_DEVICE void store_word(void* to, uint32_t word, Site site = PRAXINO_HERE) {
  store_raw(static_cast<uint32_t*>(to), word, site);
}

/// Two neighbours of 8 bytes at a multiple of 8.
PRAXINO_DEVICE Vector<2> load_pair(const float* from, Site site = PRAXINO_HERE) {
  const uint64_t bits = load_raw(reinterpret_cast<const uint64_t*>(from), site);
  return {{float_of(static_cast<uint32_t>(bits)), float_of(static_cast<uint32_t>(bits >> 32))}};
}

/// Of a pair of bfloat16, both as floats.
PRAXINO_DEVICE Vector<2> unpack_bf16(uint32_t word) {
  return {{float_of(word << 16), float_of(word & 0xffff0000U)}};
}

/// Two floats as bfloat16 in one word, the first in its lower half; rounds to nearest, ties to
/// even.
PRAXINO_DEVICE uint32_t pack_bf16(float first, float second) {
#if defined(__CUDACC__)
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
#else
  return to_bf16(first).bits | static_cast<uint32_t>(to_bf16(second).bits) << 16;
#endif
}

PRAXINO_DEVICE double load(const double* from, Site site = PRAXINO_HERE) {
  return load_raw(from, site);
}
PRAXINO_DEVICE void store(double* to, double value, Site site = PRAXINO_HERE) {
  store_raw(to, value, site);
}

// Whole numbers as they are.
PRAXINO_DEVICE uint8_t load(const uint8_t* from, Site site = PRAXINO_HERE) {
  return load_raw(from, site);
}
PRAXINO_DEVICE uint32_t load(const uint32_t* from, Site site = PRAXINO_HERE) {
  return load_raw(from, site);
}
PRAXINO_DEVICE int64_t load(const int64_t* from, Site site = PRAXINO_HERE) {
  return load_raw(from, site);
}
PRAXINO_DEVICE void store(uint8_t* to, uint8_t value, Site site = PRAXINO_HERE) {
  store_raw(to, value, site);
}
PRAXINO_DEVICE void store(uint32_t* to, uint32_t value, Site site = PRAXINO_HERE) {
  store_raw(to, value, site);
}
PRAXINO_DEVICE void store(int64_t* to, int64_t value, Site site = PRAXINO_HERE) {
  store_raw(to, value, site);
}

PRAXINO_DEVICE float load(const float* from, Site site = PRAXINO_HERE) {
  return load_raw(from, site);
}
PRAXINO_DEVICE float load(const Bf16* from, Site site = PRAXINO_HERE) {
  return to_float(load_raw(from, site));
}
PRAXINO_DEVICE void store(float* to, float value, Site site = PRAXINO_HERE) {
  store_raw(to, value, site);
}
PRAXINO_DEVICE void store(Bf16* to, float value, Site site = PRAXINO_HERE) {
  store_raw(to, Bf16{static_cast<uint16_t>(pack_bf16(value, 0.0F))}, site);
}

/// N elements in 16-byte accesses: N is a multiple of 4, `from` aligned to 16 bytes. Or one
/// element.
template <int N>
PRAXINO_DEVICE Vector<N> load_vector(const float* from, Site site = PRAXINO_HERE) {
  static_assert(N == 1 || N % 4 == 0);
  Vector<N> to;
  if constexpr (N == 1) {
    to.v[0] = load(from, site);
  } else {
    PRAXINO_UNROLL
    for (int i = 0; i < N; i += 4) {
      const Words words = load_words(from + i, site);
      PRAXINO_UNROLL
      for (int j = 0; j < 4; ++j) to.v[i + j] = float_of(words.word[j]);
    }
  }
  return to;
}

/// The same for bfloat16: N is 1 or a multiple of 8.
template <int N>
PRAXINO_DEVICE Vector<N> load_vector(const Bf16* from, Site site = PRAXINO_HERE) {
  static_assert(N == 1 || N % 8 == 0);
  Vector<N> to;
  if constexpr (N == 1) {
    to.v[0] = load(from, site);
  } else {
    PRAXINO_UNROLL
    for (int i = 0; i < N; i += 8) {
      const Words words = load_words(from + i, site);
      PRAXINO_UNROLL
      for (int j = 0; j < 4; ++j) {
        to.v[i + 2 * j] = float_of(words.word[j] << 16);
        to.v[i + 2 * j + 1] = float_of(words.word[j] & 0xffff0000U);
      }
    }
  }
  return to;
}

template <int N>
PRAXINO_DEVICE void store_vector(float* to, const Vector<N>& from, Site site = PRAXINO_HERE) {
  static_assert(N == 1 || N % 4 == 0);
  if constexpr (N == 1) {
    store(to, from.v[0], site);
  } else {
    PRAXINO_UNROLL
    for (int i = 0; i < N; i += 4) {
      Words words;
      PRAXINO_UNROLL
      for (int j = 0; j < 4; ++j) words.word[j] = bits_of(from.v[i + j]);
      store_words(to + i, words, site);
    }
  }
}

template <int N>
PRAXINO_DEVICE void store_vector(Bf16* to, const Vector<N>& from, Site site = PRAXINO_HERE) {
  static_assert(N == 1 || N % 8 == 0);
  if constexpr (N == 1) {
    store(to, from.v[0], site);
  } else {
    PRAXINO_UNROLL
    for (int i = 0; i < N; i += 8) {
      Words words;
      PRAXINO_UNROLL
      for (int j = 0; j < 4; ++j)
        words.word[j] = pack_bf16(from.v[i + 2 * j], from.v[i + 2 * j + 1]);
      store_words(to + i, words, site);
    }
  }
}

}  // namespace praxino::kernels::device
