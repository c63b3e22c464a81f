#pragma once
// Tensor cores of every chip from 8.0: products of tiles in registers, and the loads from shared
// memory that fill them. All 32 lanes of a warp make each call together; which lane holds what is
// in kernels/fragments.h. None of these orders memory accesses: barriers do.

#include "kernels/bf16.h"
#include "kernels/device/thread.cuh"
#include "kernels/fragments.h"

namespace praxino::kernels::device {

/// Pairs of bfloat16, the first in the lower half of the word.
template <int N>
struct Pairs {
  uint32_t word[N];
};
using FragmentA = Pairs<4>;
using FragmentB = Pairs<2>;
struct FragmentC {
  float v[4];
};

#if !defined(__CUDACC__)
namespace plain {

constexpr float half_of(const uint32_t* words, int element) {
  return float_of(element % 2 == 0 ? words[element / 2] << 16 : words[element / 2] & 0xffff0000U);
}

struct Product {
  FragmentC* c;
  const FragmentA* a;
  const FragmentB* b;
};

// The device promises neither order nor rounding of the sum over 16; this one rounds each step.
inline void multiply(void* const* lanes) {
  float a[16][16], b[8][16];
  for (int lane = 0; lane < kWarp; ++lane) {
    const auto* own = static_cast<const Product*>(lanes[lane]);
    for (int i = 0; i < 8; ++i) {
      const FragmentSpot spot = fragment_a(lane, i);
      a[spot.row][spot.column] = half_of(own->a->word, i);
    }
    for (int i = 0; i < 4; ++i) {
      const FragmentSpot spot = fragment_b(lane, i);
      b[spot.column][spot.row] = half_of(own->b->word, i);
    }
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const FragmentSpot spot = fragment_c(lane, i);
      float& sum = static_cast<const Product*>(lanes[lane])->c->v[i];
      for (int k = 0; k < 16; ++k) sum += a[spot.row][k] * b[spot.column][k];
    }
  }
}

struct Rows {
  const void* own;
  const char* all[kWarp];
};

inline void gather_rows(void* const* lanes) {
  for (int lane = 0; lane < kWarp; ++lane) {
    for (int other = 0; other < kWarp; ++other) {
      static_cast<Rows*>(lanes[lane])->all[other] =
          static_cast<const char*>(static_cast<const Rows*>(lanes[other])->own);
    }
  }
}

inline void transpose(void* const* lanes) {
  uint32_t matrix[8][8];
  for (int lane = 0; lane < kWarp; ++lane) {
    for (int i = 0; i < 2; ++i) {
      const FragmentSpot spot = fragment_8x8(lane, i);
      matrix[spot.column][spot.row] =
          *static_cast<const uint32_t*>(lanes[lane]) >> (16 * i) & 0xffffU;
    }
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    const FragmentSpot spot = fragment_8x8(lane, 0);
    *static_cast<uint32_t*>(lanes[lane]) =
        matrix[spot.row][spot.column] | matrix[spot.row][spot.column + 1] << 16;
  }
}

}  // namespace plain
#endif

/// c += a b in bfloat16 with sums in float: mma.m16n8k16.
PRAXINO_DEVICE void multiply_add(FragmentC& c, const FragmentA& a, const FragmentB& b,
                                 [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c.v[0]), "+f"(c.v[1]), "+f"(c.v[2]), "+f"(c.v[3])
      : "r"(a.word[0]), "r"(a.word[1]), "r"(a.word[2]), "r"(a.word[3]), "r"(b.word[0]),
        "r"(b.word[1]));
#else
  plain::Product own{&c, &a, &b};
  cpu::together(cpu::Collective::kMultiply, 0, &own, plain::multiply, site);
#endif
}

/// kMatrices (1, 2 or 4) matrices of 8 x 8 elements of 16 bits from shared memory: ldmatrix. Lane
/// 8m + r points at row r of matrix m, 16 bytes at a multiple of 16; what lanes past the last
/// matrix point at is not looked at. Word m of a lane is its part of matrix m (fragment_8x8), or,
/// where kTransposed, of its transpose.
template <int kMatrices, bool kTransposed = false>
PRAXINO_DEVICE Pairs<kMatrices> load_matrices(const void* row,
                                              [[maybe_unused]] Site site = PRAXINO_HERE) {
  static_assert(kMatrices == 1 || kMatrices == 2 || kMatrices == 4);
  Pairs<kMatrices> to;
#if defined(__CUDACC__)
  const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (kMatrices == 1) {
    if constexpr (kTransposed) {
      asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                   : "=r"(to.word[0])
                   : "r"(from)
                   : "memory");
    } else {
      asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                   : "=r"(to.word[0])
                   : "r"(from)
                   : "memory");
    }
  } else if constexpr (kMatrices == 2) {
    if constexpr (kTransposed) {
      asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                   : "=r"(to.word[0]), "=r"(to.word[1])
                   : "r"(from)
                   : "memory");
    } else {
      asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                   : "=r"(to.word[0]), "=r"(to.word[1])
                   : "r"(from)
                   : "memory");
    }
  } else {
    if constexpr (kTransposed) {
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(to.word[0]), "=r"(to.word[1]), "=r"(to.word[2]), "=r"(to.word[3])
                   : "r"(from)
                   : "memory");
    } else {
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(to.word[0]), "=r"(to.word[1]), "=r"(to.word[2]), "=r"(to.word[3])
                   : "r"(from)
                   : "memory");
    }
  }
#else
  const int lane = lane_index();
  if (lane < 8 * kMatrices) cpu::require_aligned(row, 16, site);
  plain::Rows rows{.own = row, .all = {}};
  cpu::together(cpu::Collective::kLoadMatrices, kTransposed ? -kMatrices : kMatrices, &rows,
                plain::gather_rows, site);
  for (int m = 0; m < kMatrices; ++m) {
    if constexpr (kTransposed) {
      uint16_t half[2];
      for (int i = 0; i < 2; ++i) {
        const FragmentSpot spot = fragment_8x8(lane, i);  // of the transpose
        cpu::read(rows.all[8 * m + spot.column] + 2 * spot.row, &half[i], 2, site);
      }
      to.word[m] = half[0] | static_cast<uint32_t>(half[1]) << 16;
    } else {
      const FragmentSpot spot = fragment_8x8(lane, 0);
      cpu::read(rows.all[8 * m + spot.row] + 2 * spot.column, &to.word[m], 4, site);
    }
  }
#endif
  return to;
}

/// The transpose of an 8 x 8 matrix that the warp holds (fragment_8x8): movmatrix.
PRAXINO_DEVICE uint32_t transpose_matrix(uint32_t pair, [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  uint32_t to;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(to) : "r"(pair));
  return to;
#else
  cpu::together(cpu::Collective::kTranspose, 0, &pair, plain::transpose, site);
  return pair;
#endif
}

}  // namespace praxino::kernels::device
