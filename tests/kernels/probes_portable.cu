#include "kernels/probes_portable.h"

#include "kernels/device/barrier.cuh"
#include "kernels/device/copy_async.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/device/raw_vectors.cuh"
#include "kernels/device/rounding.cuh"
#include "kernels/device/thread.cuh"
#include "kernels/device/warp.cuh"

namespace praxino::kernels::testing {
namespace {

using namespace device;

struct TwoWords {
  uint32_t first, second;
};

PRAXINO_DEVICE TwoWords halves(uint64_t bits) {
  return {static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32)};
}

// Of bits that are floats to most functions. `scratch` is two words of memory.
PRAXINO_DEVICE TwoWords applied(Arithmetic function, uint32_t x_bits, uint32_t y_bits,
                                uint32_t z_bits, uint32_t* scratch) {
  const float x = float_of(x_bits), y = float_of(y_bits), z = float_of(z_bits);
  auto* half = reinterpret_cast<Bf16*>(scratch);
  switch (function) {
    case Arithmetic::kPackBf16: return {pack_bf16(x, y), 0};
    case Arithmetic::kStoreBf16: store(half, x); return {load_raw(&half->bits, PRAXINO_HERE), 0};
    case Arithmetic::kLoadBf16:
      store_raw(&half->bits, static_cast<uint16_t>(x_bits), PRAXINO_HERE);
      return {bits_of(load(half)), 0};
    case Arithmetic::kUnpackBf16: {
      const Vector<2> pair = unpack_bf16(x_bits);
      return {bits_of(pair.v[0]), bits_of(pair.v[1])};
    }
    case Arithmetic::kExp2: return {bits_of(exp2_fast(x)), 0};
    case Arithmetic::kLog2: return {bits_of(log2_fast(x)), 0};
    case Arithmetic::kRsqrt: return {bits_of(rsqrt_fast(x)), 0};
    case Arithmetic::kReciprocal: return {bits_of(reciprocal_fast(x)), 0};
    case Arithmetic::kSqrt: return {bits_of(sqrt_fast(x)), 0};
    case Arithmetic::kSqrtExact: {
      const double root = sqrt_exact(__builtin_bit_cast(double, uint64_t{y_bits} << 32 | x_bits));
      return halves(__builtin_bit_cast(uint64_t, root));
    }
    case Arithmetic::kMaximum: return {bits_of(maximum(x, y)), 0};
    case Arithmetic::kMaximumNumber: return {bits_of(maximum_number(x, y)), 0};
    case Arithmetic::kMultiplyRounded: return {bits_of(multiply_rounded(x, y) + z), 0};
    case Arithmetic::kMultiplyAddRounded: return {bits_of(multiply_add_rounded(x, y, z)), 0};
    case Arithmetic::kMultiplyWide:
      return halves(
          static_cast<uint64_t>(multiply_wide(static_cast<int>(x_bits), static_cast<int>(y_bits))));
    case Arithmetic::kNearestInt: return {static_cast<uint32_t>(nearest_int(x)), 0};
    case Arithmetic::kNearestProduct: {
      const Whole whole = nearest_product(x, y);
      return {bits_of(whole.value), static_cast<uint32_t>(whole.number)};
    }
    case Arithmetic::kQuotientRounded: return {bits_of(quotient_rounded(x, y, z)), 0};
    case Arithmetic::kSigmoid: return {bits_of(sigmoid_fast(x)), 0};
  }
  return {};
}

constexpr int kArithmeticThreads = 128;

PRAXINO_KERNEL(kArithmeticThreads)
arithmetic_kernel(ArithmeticProbe p) {
  auto* scratch = reinterpret_cast<uint32_t*>(shared_floats()) + 2 * thread_index();
  for (int i = thread_index(); i < p.count; i += kArithmeticThreads) {
    const TwoWords words =
        applied(p.function, load(p.x + i), load(p.y + i), load(p.z + i), scratch);
    store(p.to + 2 * i, words.first);
    store(p.to + 2 * i + 1, words.second);
  }
}

PRAXINO_KERNEL(64)
standing_kernel(StandingProbe p) {
  int64_t* to = p.to + (block_index() * block_threads() + thread_index()) * kStandings;
  store(to, int64_t{thread_index()});
  store(to + 1, int64_t{block_threads()});
  store(to + 2, block_index());
  store(to + 3, grid_blocks());
  store(to + 4, int64_t{lane_index()});
  store(to + 5, int64_t{warp_index()});
  store(to + 6, int64_t{shared_address(shared_floats()) % 1024});
}

PRAXINO_KERNEL(kWarp)
exchange_kernel(ExchangeProbe p) {
  const int lane = lane_index();
  const uint32_t low = load(p.from + lane);
  const float own = float_of(low);
  const double wide = __builtin_bit_cast(double, uint64_t{load(p.from + kWarp + lane)} << 32 | low);
  int next = 0;
  const auto give = [&](uint32_t word) { store(p.to + next++ * kWarp + lane, word); };
  const auto give_double = [&](double value) {
    const TwoWords words = halves(__builtin_bit_cast(uint64_t, value));
    give(words.first);
    give(words.second);
  };
  for (int distance = 1; distance < kWarp; distance *= 2) give(bits_of(shuffle_xor(own, distance)));
  // Halves of the warp by themselves, which meet before they exchange anything again.
  give(bits_of(lane < 16 ? shuffle_xor(own, 3, 0xffffU) : shuffle_xor(own, 6, 0xffff0000U)));
  sync_block();
  give_double(shuffle_xor(wide, 5));
  for (const int distance : {0, 1, 7, 31}) give(bits_of(shuffle_down(own, distance)));
  give(bits_of(lane < 16 ? shuffle(own, 9, 0xffffU) : shuffle(own, 31, 0xffff0000U)));
  sync_block();
  give(bits_of(shuffle(own, 17)));
  give(bits_of(shuffle(own, (5 * lane + 3) % kWarp)));
  give(static_cast<uint32_t>(uniform(lane + 7)));
  const float small = float_of(load(p.from + 2 * kWarp + lane));
  for (int lanes = 1; lanes <= kWarp; lanes *= 2) give(bits_of(group_sum(small, lanes)));
  give_double(group_sum(static_cast<double>(small) / 3, kWarp));
  for (const int lanes : {2, 8, 32}) give(bits_of(group_max(small, lanes)));
}

PRAXINO_KERNEL(64)
meeting_kernel(MeetingProbe p) {
  auto* words = reinterpret_cast<uint32_t*>(shared_floats());
  const int thread = thread_index(), lane = lane_index();
  store(words + thread, static_cast<uint32_t>(100 + thread));
  sync_block();
  store(p.to + thread, load(words + 63 - thread));
  sync_block();
  const uint32_t half = lane < 16 ? 0xffffU : 0xffff0000U;
  store(words + thread, static_cast<uint32_t>(200 + thread));
  sync_warp(half);
  store(p.to + 64 + thread, load(words + thread / 16 * 16 + (thread + 5) % 16));
}

template <int kMatrices, bool kTransposed>
PRAXINO_KERNEL(kWarp)
matrices_kernel(MatricesProbe p) {
  auto* tile = reinterpret_cast<Bf16*>(shared_floats());
  const int lane = lane_index();
  for (int row = lane; row < 64; row += kWarp)
    store_words(tile + 8 * row, load_words(p.tile + 8 * row, PRAXINO_HERE), PRAXINO_HERE);
  sync_block();
  const int row = load_raw(p.rows + lane, PRAXINO_HERE);
  // Lanes past the last matrix point nowhere.
  const Bf16* at = lane < 8 * kMatrices ? tile + 8 * row : nullptr;
  const Pairs<kMatrices> pairs = load_matrices<kMatrices, kTransposed>(at);
  PRAXINO_UNROLL
  for (int m = 0; m < kMatrices; ++m) store(p.to + lane * kMatrices + m, pairs.word[m]);
}

PRAXINO_KERNEL(kWarp)
transpose_kernel(TransposeProbe p) {
  store(p.to + lane_index(), transpose_matrix(load(p.from + lane_index())));
}

PRAXINO_KERNEL(kWarp)
fragment_kernel(FragmentProbe p) {
  const int lane = lane_index();
  const Words a = load_words(p.a + 4 * lane, PRAXINO_HERE);
  const FragmentB b = {{load(p.b + 2 * lane), load(p.b + 2 * lane + 1)}};
  FragmentC c;
  PRAXINO_UNROLL
  for (int i = 0; i < 4; ++i) c.v[i] = load(p.c + 4 * lane + i);
  multiply_add(c, {{a.word[0], a.word[1], a.word[2], a.word[3]}}, b);
  PRAXINO_UNROLL
  for (int i = 0; i < 4; ++i) store(p.d + 4 * lane + i, c.v[i]);
}

PRAXINO_KERNEL(kWarp)
async_kernel(AsyncProbe p) {
  constexpr int kGroup = kWarp * 4;  // words
  auto* words = reinterpret_cast<uint32_t*>(shared_floats());
  const int lane = lane_index(), own = 4 * lane, opposite = 4 * (31 - lane);
  for (int i = lane; i < 3 * kGroup; i += kWarp) store(words + i, 0xffffffffU);
  sync_block();
  const auto move = [&](uint32_t* to, const uint32_t* from) {
    store_words(to, load_words(from, PRAXINO_HERE), PRAXINO_HERE);
  };
  // What is not there is far outside of all memory.
  const auto copy = [&](int group) {
    const bool there = load(p.there + group * kWarp + lane) != 0;
    const uint32_t* from = p.from + group * kGroup + own;
    copy_16_async_or_zero(words + group * kGroup + own, there ? from : from + (int64_t{1} << 40),
                          there);
    commit_copies();
  };
  copy_16_async(words + own, p.from + own);
  commit_copies();
  copy(1);
  wait_copies<1>();
  move(p.to + own, words + own);
  copy(2);
  wait_copies<0>();
  sync_block();
  for (int group = 1; group < 3; ++group)
    move(p.to + group * kGroup + own, words + group * kGroup + opposite);
}

// One element after the other.
template <class T, class Move>
PRAXINO_DEVICE void each(uint32_t* to, const uint32_t* from, Move move) {
  for (int i = 0; i < 32 / static_cast<int>(sizeof(T)); ++i)
    move(reinterpret_cast<T*>(to) + i, reinterpret_cast<const T*>(from) + i);
}
template <class T>
PRAXINO_DEVICE void each(uint32_t* to, const uint32_t* from) {
  each<T>(to, from, [](T* one, const T* other) { store(one, load(other)); });
}
template <int N, class T>
PRAXINO_DEVICE void each_vector(uint32_t* to, const uint32_t* from) {
  for (int i = 0; i < 32 / static_cast<int>(sizeof(T)); i += N)
    store_vector(reinterpret_cast<T*>(to) + i,
                 load_vector<N>(reinterpret_cast<const T*>(from) + i));
}
// Two halves with a gap between them in memory, as they are in rows.
template <class T>
PRAXINO_DEVICE void by_halves(uint32_t* to, const uint32_t* from, bool there) {
  constexpr int kAll = 32 / sizeof(T);
  for (int first = 0; first < kAll / 2; first += kRowVector / 2) {
    const HalfColumns at{first, first + kAll / 2};
    const int width = there ? kAll : first + kAll / 2;  // the second half may lie outside
    const auto raw = load_halves(reinterpret_cast<const T*>(from), at, width);
    store_halves(reinterpret_cast<T*>(to), at, kAll, floats_of(raw));
  }
}

PRAXINO_KERNEL(kWarp)
memory_kernel(MemoryProbe p) {
  const int lane = lane_index();
  const uint32_t* from = p.from + 8 * lane;
  uint32_t* shared = reinterpret_cast<uint32_t*>(shared_floats()) + 8 * lane;
  const bool there = load(p.there + lane) != 0;
  int way = 0;
  const auto next = [&] { return p.to + (way++ * kWarp + lane) * 8; };
  // To shared memory and back.
  const auto there_and_back = [&](auto move) {
    move(shared, from);
    move(next(), shared);
  };
  there_and_back([](uint32_t* to, const uint32_t* at) { each<uint8_t>(to, at); });
  there_and_back([](uint32_t* to, const uint32_t* at) { each<uint32_t>(to, at); });
  there_and_back([](uint32_t* to, const uint32_t* at) { each<int64_t>(to, at); });
  there_and_back([](uint32_t* to, const uint32_t* at) { each<float>(to, at); });
  there_and_back([](uint32_t* to, const uint32_t* at) { each<double>(to, at); });
  there_and_back([](uint32_t* to, const uint32_t* at) { each<Bf16>(to, at); });
  there_and_back([](uint32_t* to, const uint32_t* at) {
    each<uint32_t>(to, at,
                   [](uint32_t* one, const uint32_t* other) { store_word(one, load_word(other)); });
  });
  there_and_back([](uint32_t* to, const uint32_t* at) {
    for (int i = 0; i < 8; i += 2) {
      const Vector<2> pair = load_pair(reinterpret_cast<const float*>(at) + i);
      store_word(to + i, bits_of(pair.v[0]));
      store_word(to + i + 1, bits_of(pair.v[1]));
    }
  });
  there_and_back([](uint32_t* to, const uint32_t* at) {
    for (int i = 0; i < 8; i += 4)
      store_words(to + i, load_words(at + i, PRAXINO_HERE), PRAXINO_HERE);
  });
  there_and_back([](uint32_t* to, const uint32_t* at) { each_vector<8, float>(to, at); });
  there_and_back([](uint32_t* to, const uint32_t* at) { each_vector<8, Bf16>(to, at); });
  there_and_back([](uint32_t* to, const uint32_t* at) {
    each<uint32_t>(to, at, [](uint32_t* one, const uint32_t* other) {
      store_raw(one, load_raw(other, PRAXINO_HERE), PRAXINO_HERE);
    });
  });
  // From global memory alone. What is not there has no address.
  uint32_t* to = next();
  for (int i = 0; i < 8; i += 4)
    store_words(to + i, load_words_or_zero(there ? from + i : nullptr, there), PRAXINO_HERE);
  to = next();
  for (int i = 0; i < 8; i += 2) {
    const uint64_t bits = load_8_or_zero(there ? from + i : nullptr, there);
    store_raw(reinterpret_cast<uint64_t*>(to + i), bits, PRAXINO_HERE);
  }
  by_halves<float>(next(), from, there);
  by_halves<Bf16>(next(), from, there);
  // By pointers that are read from memory.
  const uint32_t* known = in_global(load_raw(p.at, PRAXINO_HERE));
  const uint32_t* nothing = in_global(load_raw(p.at + 1, PRAXINO_HERE));
  to = next();
  for (int i = 0; i < 8; ++i) store(to + i, nothing == nullptr ? load(known + 8 * lane + i) : 0);
}

}  // namespace

Status launch_probe(const ArithmeticProbe& p, Stream stream) {
  return launch(arithmetic_kernel, {"arithmetic", 1, kArithmeticThreads, 8 * kArithmeticThreads}, p,
                stream);
}

Status launch_probe(const StandingProbe& p, Stream stream) {
  return launch(standing_kernel, {"standing", 3, 64, 1024}, p, stream);
}

Status launch_probe(const ExchangeProbe& p, Stream stream) {
  return launch(exchange_kernel, {"exchange", 1, kWarp}, p, stream);
}

Status launch_probe(const MeetingProbe& p, Stream stream) {
  return launch(meeting_kernel, {"meeting", 1, 64, 256}, p, stream);
}

Status launch_probe(const MatricesProbe& p, Stream stream) {
  const Grid grid{"matrices", 1, kWarp, 64 * 16};
  const auto take = [&](auto plain, auto transposed) {
    return launch(p.transposed ? transposed : plain, grid, p, stream);
  };
  if (p.matrices == 1) return take(matrices_kernel<1, false>, matrices_kernel<1, true>);
  if (p.matrices == 2) return take(matrices_kernel<2, false>, matrices_kernel<2, true>);
  return take(matrices_kernel<4, false>, matrices_kernel<4, true>);
}

Status launch_probe(const TransposeProbe& p, Stream stream) {
  return launch(transpose_kernel, {"transpose", 1, kWarp}, p, stream);
}

Status launch_probe(const FragmentProbe& p, Stream stream) {
  return launch(fragment_kernel, {"fragment", 1, kWarp}, p, stream);
}

Status launch_probe(const AsyncProbe& p, Stream stream) {
  return launch(async_kernel, {"async", 1, kWarp, 3 * kWarp * 16}, p, stream);
}

Status launch_probe(const MemoryProbe& p, Stream stream) {
  return launch(memory_kernel, {"memory", 1, kWarp, kWarp * 32}, p, stream);
}

}  // namespace praxino::kernels::testing
