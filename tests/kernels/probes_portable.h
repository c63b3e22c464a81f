#pragma once
// One small kernel for each instruction of the device layer that every chip from 8.0 has, and what
// it must give: see probes_hopper.h for those of Hopper alone. What is told by lane or thread is
// told as the instruction hands it out, not by way of kernels/fragments.h.

#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/launch.h"

namespace praxino::kernels::testing {

/// Functions of up to three floats.
enum class Arithmetic {
  kPackBf16,    // of x and y: a word
  kStoreBf16,   // of x, through memory
  kLoadBf16,    // of the lower half of x, through memory
  kUnpackBf16,  // of x: two floats
  kExp2,
  kLog2,
  kRsqrt,
  kReciprocal,
  kSqrt,
  kSqrtExact,  // of x and y as the halves of a double
  kMaximum,
  kMaximumNumber,
  kMultiplyRounded,
  kMultiplyAddRounded,
  kMultiplyWide,
  kNearestInt,
  kNearestProduct,
  kQuotientRounded,  // z is the rounded 1 / y
  kSigmoid,
};
struct ArithmeticProbe {
  Arithmetic function = Arithmetic::kExp2;
  const uint32_t* x = nullptr;  // bits of floats, `count` each
  const uint32_t* y = nullptr;
  const uint32_t* z = nullptr;
  uint32_t* to = nullptr;  // two words a result, the second zero where it has one
  int count = 0;
};
Status launch_probe(const ArithmeticProbe& probe, Stream stream);

/// What each thread of 3 blocks of 64 knows of its place: kStandings numbers.
inline constexpr int kStandings = 7;
struct StandingProbe {
  int64_t* to = nullptr;  // 3 x 64 x kStandings
};
Status launch_probe(const StandingProbe& probe, Stream stream);

/// What the lanes of a warp hand each other: kExchanges words a lane.
inline constexpr int kExchanges = 27;
struct ExchangeProbe {
  const uint32_t* from = nullptr;  // 3 x 32: words, upper halves of doubles, floats to add up
  uint32_t* to = nullptr;          // kExchanges x 32
};
Status launch_probe(const ExchangeProbe& probe, Stream stream);

/// Threads of a block, then of half a warp, read what another one wrote before the barrier.
struct MeetingProbe {
  uint32_t* to = nullptr;  // 2 x 64
};
Status launch_probe(const MeetingProbe& probe, Stream stream);

/// Matrices of 8 x 8 from shared memory.
struct MatricesProbe {
  int matrices = 1;  // 1, 2 or 4
  bool transposed = false;
  const Bf16* tile = nullptr;  // 64 rows of 8
  const int* rows = nullptr;   // of the tile, to which lanes 0 .. 31 point
  uint32_t* to = nullptr;      // 32 x matrices
};
Status launch_probe(const MatricesProbe& probe, Stream stream);

/// A matrix of 8 x 8 in the registers of a warp, and its transpose.
struct TransposeProbe {
  const uint32_t* from = nullptr;  // 32
  uint32_t* to = nullptr;          // 32
};
Status launch_probe(const TransposeProbe& probe, Stream stream);

/// d = c + a b, all as the lanes hold them.
struct FragmentProbe {
  const uint32_t* a = nullptr;  // 32 x 4
  const uint32_t* b = nullptr;  // 32 x 2
  const float* c = nullptr;     // 32 x 4
  float* d = nullptr;           // 32 x 4
};
Status launch_probe(const FragmentProbe& probe, Stream stream);

/// Asynchronous copies in three groups; of the second and third, pieces of 16 bytes that are not
/// there become zeros. Read back by the own thread, then twice by the opposite one.
struct AsyncProbe {
  const uint32_t* from = nullptr;   // 3 x 32 x 4
  const uint32_t* there = nullptr;  // 3 x 32
  uint32_t* to = nullptr;           // 3 x 32 x 4
};
Status launch_probe(const AsyncProbe& probe, Stream stream);

/// Pieces of 32 bytes, moved in each of kWays ways.
inline constexpr int kWays = 17;
struct MemoryProbe {
  const uint32_t* from = nullptr;       // 32 x 8
  const uint32_t* there = nullptr;      // 32
  const uint32_t* const* at = nullptr;  // `from` again, and a null pointer
  uint32_t* to = nullptr;               // kWays x 32 x 8
};
Status launch_probe(const MemoryProbe& probe, Stream stream);

}  // namespace praxino::kernels::testing
