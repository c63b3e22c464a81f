#pragma once
// Runs the probes of what every chip from 8.0 has (probes_portable.h), but for arithmetic, and
// holds them against what the PTX manual says, in its own words. `Gpu` as in expect_probes.h.

#include <gtest/gtest.h>

#include <bit>
#include <numeric>
#include <string>

#include "kernels/numbers.h"
#include "kernels/probes_portable.h"

namespace praxino::kernels::testing {

inline std::vector<uint32_t> random_words(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint32_t> words(count);
  for (uint32_t& word : words) word = static_cast<uint32_t>(random());
  return words;
}

template <class Gpu>
void expect_standings(Gpu& gpu) {
  const StandingProbe p{gpu.template allocate<int64_t>(3 * 64 * kStandings)};
  ASSERT_TRUE(launch_probe(p, nullptr).ok());
  std::vector<int64_t> want;
  for (int64_t block = 0; block < 3; ++block) {
    for (int64_t thread = 0; thread < 64; ++thread) {
      const int64_t one[kStandings] = {thread, 64, block, 3, thread & 31, thread >> 5, 0};
      want.insert(want.end(), one, one + kStandings);
    }
  }
  EXPECT_EQ(gpu.download(p.to, want.size()), want);
}

/// Sums in the order of a butterfly: equal bits in all lanes of a group.
template <class T>
std::vector<T> butterfly(std::vector<T> values, size_t lanes) {
  for (size_t distance = lanes / 2; distance > 0; distance /= 2) {
    const std::vector<T> before = values;
    for (size_t lane = 0; lane < 32; ++lane) values[lane] = before[lane] + before[lane ^ distance];
  }
  return values;
}

inline std::vector<uint32_t> exchanged(const std::vector<uint32_t>& from) {
  std::vector<uint32_t> want;
  const auto give = [&](auto word_of_lane) {
    for (uint32_t lane = 0; lane < 32; ++lane) want.push_back(word_of_lane(lane));
  };
  const auto low = [&](uint32_t lane) { return from[lane]; };
  for (uint32_t distance = 1; distance < 32; distance *= 2)
    give([&](uint32_t lane) { return low(lane ^ distance); });
  give([&](uint32_t lane) { return low(lane < 16 ? lane ^ 3 : lane ^ 6); });
  for (uint32_t half = 0; half < 2; ++half)
    give([&](uint32_t lane) { return from[32 * half + (lane ^ 5)]; });
  for (const uint32_t distance : {0U, 1U, 7U, 31U})
    give([&](uint32_t lane) { return low(lane + distance < 32 ? lane + distance : lane); });
  give([&](uint32_t lane) { return low(lane < 16 ? 9 : 31); });
  give([&](uint32_t) { return low(17); });
  give([&](uint32_t lane) { return low((5 * lane + 3) % 32); });
  give([&](uint32_t) { return 7U; });
  std::vector<float> floats;
  std::vector<double> thirds;
  for (size_t lane = 0; lane < 32; ++lane) {
    floats.push_back(float_of(from[64 + lane]));
    thirds.push_back(static_cast<double>(floats.back()) / 3);
  }
  for (size_t lanes = 1; lanes <= 32; lanes *= 2) {
    const auto sums = butterfly(floats, lanes);
    give([&](uint32_t lane) { return bits_of(sums[lane]); });
  }
  const auto sums = butterfly(thirds, 32);
  for (int half = 0; half < 2; ++half) {
    give([&](uint32_t lane) {
      return static_cast<uint32_t>(std::bit_cast<uint64_t>(sums[lane]) >> (32 * half));
    });
  }
  for (const uint32_t lanes : {2U, 8U, 32U}) {
    give([&](uint32_t lane) {
      const auto group = floats.begin() + lane / lanes * lanes;
      return bits_of(*std::max_element(group, group + lanes));
    });
  }
  return want;
}

/// Bits travel as they are, those of NaN, too.
template <class Gpu>
void expect_exchanges(Gpu& gpu) {
  auto from = random_words(64, 1);
  from[3] = 0x7f800001;
  from[9] = 0xffc12345;
  from[20] = 0x80000001;
  for (const float value : normal<float>(32, 2)) from.push_back(bits_of(value));
  const ExchangeProbe p{gpu.upload(from), gpu.template allocate<uint32_t>(kExchanges * 32)};
  ASSERT_TRUE(launch_probe(p, nullptr).ok());
  const auto want = exchanged(from);
  ASSERT_EQ(want.size(), kExchanges * 32);
  const auto got = gpu.download(p.to, want.size());
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_EQ(got[i], want[i]) << "exchange " << i / 32 << " lane " << i % 32;
}

template <class Gpu>
void expect_meetings(Gpu& gpu) {
  const MeetingProbe p{gpu.template allocate<uint32_t>(128)};
  ASSERT_TRUE(launch_probe(p, nullptr).ok());
  std::vector<uint32_t> want;
  for (uint32_t thread = 0; thread < 64; ++thread) want.push_back(100 + 63 - thread);
  for (uint32_t thread = 0; thread < 64; ++thread)
    want.push_back(200 + thread / 16 * 16 + (thread + 5) % 16);
  EXPECT_EQ(gpu.download(p.to, 128), want);
}

/// "ldmatrix": threads 8m .. 8m + 7 hold the addresses of the rows of matrix m; thread t receives
/// the elements 2 (t % 4) and 2 (t % 4) + 1 of row t / 4, or of that column.
template <class Gpu>
void expect_matrices(Gpu& gpu) {
  std::vector<Bf16> tile(512);
  for (size_t i = 0; i < tile.size(); ++i) tile[i].bits = static_cast<uint16_t>(i * 40503);
  std::vector<int> rows(64);  // in no order
  std::iota(rows.begin(), rows.end(), 0);
  std::shuffle(rows.begin(), rows.end(), std::mt19937_64(3));
  for (const int matrices : {1, 2, 4}) {
    for (const bool transposed : {false, true}) {
      const auto count = static_cast<size_t>(matrices);
      const MatricesProbe p{matrices, transposed, gpu.upload(tile), gpu.upload(rows),
                            gpu.template allocate<uint32_t>(32 * count)};
      ASSERT_TRUE(launch_probe(p, nullptr).ok());
      std::vector<uint32_t> want;
      for (size_t t = 0; t < 32; ++t) {
        for (size_t m = 0; m < count; ++m) {
          const auto element = [&](size_t i) {
            const size_t row = transposed ? 2 * (t % 4) + i : t / 4;
            const size_t column = transposed ? t / 4 : 2 * (t % 4) + i;
            return uint32_t{tile[8 * static_cast<size_t>(rows[8 * m + row]) + column].bits};
          };
          want.push_back(element(0) | element(1) << 16);
        }
      }
      EXPECT_EQ(gpu.download(p.to, want.size()), want) << matrices << ", transposed " << transposed;
    }
  }
}

/// "movmatrix": thread t holds the elements 2 (t % 4) and 2 (t % 4) + 1 of row t / 4, before and
/// after.
template <class Gpu>
void expect_transpose(Gpu& gpu) {
  const auto from = random_words(32, 4);
  const TransposeProbe p{gpu.upload(from), gpu.template allocate<uint32_t>(32)};
  ASSERT_TRUE(launch_probe(p, nullptr).ok());
  std::vector<uint32_t> want;
  for (uint32_t t = 0; t < 32; ++t) {
    const auto element = [&](uint32_t row, uint32_t column) {
      return from[row * 4 + column / 2] >> (16 * (column % 2)) & 0xffffU;
    };
    want.push_back(element(2 * (t % 4), t / 4) | element(2 * (t % 4) + 1, t / 4) << 16);
  }
  EXPECT_EQ(gpu.download(p.to, 32), want);
}

/// a: 16 x 16, b: 16 x 8, c: 16 x 8, by rows.
struct Matrices {
  std::vector<Bf16> a, b;
  std::vector<float> c;
};

/// "Matrix fragments for mma.m16n8k16": groupID = lane >> 2, threadID_in_group = lane % 4.
template <class Gpu>
std::vector<float> multiplied(Gpu& gpu, const Matrices& of) {
  std::vector<uint32_t> a(128), b(64);
  std::vector<float> c(128), d(128);
  const auto spot_of_c = [](size_t lane, size_t i) {
    const size_t row = i < 2 ? lane >> 2 : (lane >> 2) + 8;
    return row * 8 + (lane % 4) * 2 + (i & 1);
  };
  for (size_t lane = 0; lane < 32; ++lane) {
    const size_t group = lane >> 2, in_group = lane % 4;
    for (size_t i = 0; i < 8; ++i) {
      const size_t row = i < 2 || (4 <= i && i < 6) ? group : group + 8;
      const size_t column = i < 4 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
      a[4 * lane + i / 2] |= uint32_t{of.a[row * 16 + column].bits} << (16 * (i % 2));
    }
    for (size_t i = 0; i < 4; ++i) {
      const size_t row = i < 2 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
      b[2 * lane + i / 2] |= uint32_t{of.b[row * 8 + group].bits} << (16 * (i % 2));
      c[4 * lane + i] = of.c[spot_of_c(lane, i)];
    }
  }
  const FragmentProbe p{gpu.upload(a), gpu.upload(b), gpu.upload(c),
                        gpu.template allocate<float>(128)};
  EXPECT_TRUE(launch_probe(p, nullptr).ok());
  const auto held = gpu.download(p.d, 128);
  for (size_t lane = 0; lane < 32; ++lane) {
    for (size_t i = 0; i < 4; ++i) d[spot_of_c(lane, i)] = held[4 * lane + i];
  }
  return d;
}

inline Doubles product_of(const Matrices& of) {
  Doubles want = exact(of.c);
  for (size_t i = 0; i < 16; ++i) {
    for (size_t j = 0; j < 8; ++j) {
      for (size_t k = 0; k < 16; ++k)
        want[i * 8 + j] += static_cast<double>(to_float(of.a[i * 16 + k])) *
                           static_cast<double>(to_float(of.b[k * 8 + j]));
    }
  }
  return want;
}

inline Matrices some_matrices(uint64_t seed) {
  return {normal<Bf16>(256, seed), normal<Bf16>(128, seed + 1), normal<float>(128, seed + 2)};
}

/// Sums that a float holds are exact, whatever the order. Others differ by the device's own order,
/// and it cuts off bits where the CPU rounds.
template <class Gpu>
void expect_fragments(Gpu& gpu) {
  Matrices whole = some_matrices(1);
  for (Bf16& x : whole.a) x = to_bf16(std::nearbyint(40 * to_float(x)));
  for (Bf16& x : whole.b) x = to_bf16(std::nearbyint(40 * to_float(x)));
  for (float& x : whole.c) x = std::nearbyint(1000 * x);
  EXPECT_EQ(exact(multiplied(gpu, whole)), product_of(whole));
  const Matrices some = some_matrices(4);
  const Doubles want = product_of(some);
  EXPECT_LE(distance(exact(multiplied(gpu, some)), want), 1e-6 * largest(want));
}

/// What is not finite stays in its row or column; subnormal factors count.
template <class Gpu>
void expect_special_fragments(Gpu& gpu) {
  Matrices of = some_matrices(7);
  for (Bf16& x : of.b) x = to_bf16(std::fabs(to_float(x)) + 1);
  const float infinity = std::numeric_limits<float>::infinity();
  of.a[2 * 16 + 5] = to_bf16(infinity);
  of.a[9 * 16 + 15] = to_bf16(std::nanf(""));
  of.c[4 * 8 + 3] = -infinity;
  const auto d = multiplied(gpu, of);
  for (size_t i = 0; i < 128; ++i) {
    const size_t row = i / 8;
    SCOPED_TRACE("row " + std::to_string(row) + " column " + std::to_string(i % 8));
    if (row == 2) {
      EXPECT_EQ(d[i], infinity);
    } else if (row == 9) {
      EXPECT_TRUE(std::isnan(d[i]));
    } else if (i == 4 * 8 + 3) {
      EXPECT_EQ(d[i], -infinity);
    } else {
      EXPECT_TRUE(std::isfinite(d[i]));
    }
  }
  Matrices small = some_matrices(10);
  for (Bf16& x : small.a) x = {static_cast<uint16_t>(x.bits % 0x80)};  // below 2^-126
  for (Bf16& x : small.b) x = to_bf16(0x1p100F);
  for (float& x : small.c) x = 0;
  EXPECT_EQ(exact(multiplied(gpu, small)), product_of(small));
}

template <class Gpu>
void expect_async_copies(Gpu& gpu) {
  constexpr size_t kGroup = 128;
  const auto from = random_words(3 * kGroup, 5);
  std::vector<uint32_t> there(96);
  for (size_t i = 0; i < there.size(); ++i) there[i] = i * i % 3 == 1;
  const AsyncProbe p{gpu.upload(from), gpu.upload(there),
                     gpu.template allocate<uint32_t>(from.size())};
  ASSERT_TRUE(launch_probe(p, nullptr).ok());
  std::vector<uint32_t> want = from;
  for (size_t i = kGroup; i < want.size(); ++i) {
    const size_t group = i / kGroup, lane = 31 - i % kGroup / 4;
    want[i] = there[32 * group + lane] == 0 ? 0 : from[group * kGroup + 4 * lane + i % 4];
  }
  EXPECT_EQ(gpu.download(p.to, want.size()), want);
}

/// Of the ways that lead over floats none sees a NaN in bfloat16: rounding may change its payload.
template <class Gpu>
void expect_moves(Gpu& gpu) {
  auto from = random_words(256, 6);
  for (uint32_t& word : from) {
    if ((word & 0x7f800000U) == 0x7f800000U) word ^= 0x00800000U;
    if ((word & 0x00007f80U) == 0x00007f80U) word ^= 0x00000080U;
  }
  std::vector<uint32_t> there(32);
  for (size_t i = 0; i < there.size(); ++i) there[i] = i % 3 != 0;
  const uint32_t* device = gpu.upload(from);
  const std::vector<const uint32_t*> at = {device, nullptr};
  const MemoryProbe p{device, gpu.upload(there), gpu.upload(at),
                      gpu.template allocate<uint32_t>(kWays * from.size())};
  ASSERT_TRUE(launch_probe(p, nullptr).ok());
  const auto got = gpu.download(p.to, kWays * from.size());
  for (size_t way = 0; way < kWays; ++way) {
    for (size_t i = 0; i < from.size(); ++i) {
      const size_t word = i % 8, lane = i / 8;
      uint32_t want = from[i];
      if (way == 12 || way == 13) want = there[lane] != 0 ? want : 0;
      // The second half, of which the last piece lies outside.
      if ((way == 14 || way == 15) && there[lane] == 0 && word >= 4) want = 0;
      ASSERT_EQ(got[way * from.size() + i], want) << "way " << way << " lane " << lane;
    }
  }
}

}  // namespace praxino::kernels::testing
