#include "praxino/base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "praxino/base/error.h"

namespace praxino {
namespace {

using Words = std::array<uint32_t, 4>;

TEST(Philox, KnownAnswersOfRandom123) {
  EXPECT_EQ(philox_4x32_10({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox_4x32_10({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox_4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, ValuesFollowFromTheKeyAlone) {
  EXPECT_EQ(Random(0).bits(), 0xe169c58d6627e8d5u);  // the first two words of block 0
  Random a(7), b(7), c(8);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(a.bits(), b.bits());
  EXPECT_NE(Random(7).bits(), c.bits());
}

TEST(Random, UniformFillsItsInterval) {
  Random random(1);
  double sum = 0;
  double least = 1;
  double most = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.uniform();
    ASSERT_TRUE(x >= 0 && x < 1);
    sum += x;
    least = std::min(least, x);
    most = std::max(most, x);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.005);  // five standard errors
  EXPECT_LT(least, 1e-3);
  EXPECT_GT(most, 1 - 1e-3);
}

TEST(Random, UniformNeverReachesItsUpperEnd) {
  Random random(2);
  const double low = 1;
  const double high = std::nextafter(low, 2);  // the sum rounds up half of the time
  for (int i = 0; i < 100; ++i) ASSERT_EQ(random.uniform(low, high), low);
}

TEST(Random, IntegersAreEven) {
  Random random(3);
  std::vector<int> counts(7);
  constexpr int kDraws = 70'000;
  for (int i = 0; i < kDraws; ++i) ++counts.at(static_cast<size_t>(random.integer(7)));
  for (const int count : counts) EXPECT_NEAR(count, kDraws / 7, 500);
  EXPECT_EQ(random.integer(1), 0);
  const int64_t large = int64_t{3} << 61;  // plain modulo would favour the lower half
  int lower = 0;
  for (int i = 0; i < 10'000; ++i) lower += random.integer(large) < large / 2;
  EXPECT_NEAR(lower, 5000, 300);
  EXPECT_THROW(random.integer(0), Error);
}

TEST(Random, NormalHasMeanZeroAndVarianceOne) {
  Random random(4);
  double sum = 0;
  double squares = 0;
  double fourth = 0;
  constexpr int kDraws = 100'000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.normal();
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.016);
  EXPECT_NEAR(squares / kDraws, 1, 0.023);
  EXPECT_NEAR(fourth / kDraws, 3, 0.2);
}

TEST(DeriveSeed, EachPartChangesIt) {
  std::set<uint64_t> seeds;
  for (const uint64_t seed : {0, 1}) {
    for (const char* stream : {"", "noise", "noise2", "data"}) {
      for (uint64_t number = 0; number < 100; ++number)
        seeds.insert(derive_seed(seed, stream, number));
    }
  }
  EXPECT_EQ(seeds.size(), 2u * 4 * 100);
}

TEST(DeriveSeed, IsTheSameForever) {
  // Runs of older versions must resume with the same draws.
  EXPECT_EQ(derive_seed(1, "data", 0), 9784356761737781580u);
  EXPECT_EQ(Permutation(derive_seed(1, "data", 0), 1000)(5), 736u);
}

TEST(Permutation, IsABijection) {
  for (const uint64_t size :
       {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 4097, 65'537}) {
    for (const uint64_t key : {0, 1, 99}) {
      const Permutation permute(key, size);
      std::vector<bool> seen(size);
      for (uint64_t i = 0; i < size; ++i) {
        const uint64_t place = permute(i);
        ASSERT_LT(place, size);
        ASSERT_FALSE(seen[place]) << "size " << size << " key " << key;
        seen[place] = true;
      }
    }
  }
}

TEST(Permutation, HugeSizesStayInside) {
  for (const uint64_t size : {uint64_t{1} << 63, ~uint64_t{0}, (uint64_t{1} << 40) + 1}) {
    const Permutation permute(5, size);
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < 1000; ++i) seen.insert(permute(i));
    EXPECT_EQ(seen.size(), 1000u);
    EXPECT_LT(*seen.rbegin(), size);
  }
}

TEST(Permutation, LooksShuffledAndDependsOnTheKey) {
  constexpr uint64_t kSize = 1000;
  const Permutation a(1, kSize);
  const Permutation b(2, kSize);
  int fixed = 0;
  int neighbours = 0;
  int same = 0;
  for (uint64_t i = 0; i + 1 < kSize; ++i) {
    fixed += a(i) == i;
    neighbours += a(i) + 1 == a(i + 1);
    same += a(i) == b(i);
  }
  EXPECT_LT(fixed, 8);  // one is expected of each
  EXPECT_LT(neighbours, 8);
  EXPECT_LT(same, 8);
  EXPECT_THROW(Permutation(1, 0), Error);
}

TEST(Permutation, SmallSizesReachEveryOrder) {
  std::set<std::vector<uint64_t>> orders;
  for (uint64_t key = 0; key < 2000; ++key) {
    const Permutation permute(key, 4);
    orders.insert({permute(0), permute(1), permute(2), permute(3)});
  }
  EXPECT_GE(orders.size(),
            12u);  // a Feistel network permutes evenly: the even permutations at least
}

}  // namespace
}  // namespace praxino
