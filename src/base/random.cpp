#include "praxino/base/random.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <numbers>

#include "praxino/base/error.h"
#include "praxino/base/hash.h"

namespace praxino {
namespace {

__extension__ using uint128 = unsigned __int128;

/// SplitMix64's finalizer (Steele, Lea, Flood 2014): every input bit moves every output bit.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

uint64_t derive_seed(uint64_t seed, std::string_view stream, uint64_t number) {
  return mix(xxh3_64(stream, seed) + mix(number + 0x9e3779b97f4a7c15));
}

std::array<uint32_t, 4> philox_4x32_10(std::array<uint32_t, 4> counter,
                                       std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xd2511f53} * counter[0];
    const uint64_t b = uint64_t{0xcd9e8d57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + 0x9e3779b9, key[1] + 0xbb67ae85};
  }
  return counter;
}

uint64_t Random::bits() {
  const auto low = [](uint64_t x) { return static_cast<uint32_t>(x); };
  const auto high = [](uint64_t x) { return static_cast<uint32_t>(x >> 32); };
  const auto words = philox_4x32_10({low(counter_), high(counter_), 0, 0}, {low(key_), high(key_)});
  ++counter_;
  return words[0] | (uint64_t{words[1]} << 32);
}

double Random::uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }

double Random::uniform(double low, double high) {
  const double x = low + (high - low) * uniform();
  return x < high ? x : std::nextafter(high, low);  // the sum may round up to `high`
}

int64_t Random::integer(int64_t count) {
  if (count < 1) fail("Random::integer needs a count of at least 1, not {}", count);
  // Lemire, "Fast random integer generation in an interval", 2019.
  const auto range = static_cast<uint64_t>(count);
  const uint64_t biased = (0 - range) % range;
  uint128 product = 0;
  do {
    product = uint128{bits()} * range;
  } while (static_cast<uint64_t>(product) < biased);
  return static_cast<int64_t>(static_cast<uint64_t>(product >> 64));
}

double Random::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));  // 1 - u is never 0
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

Permutation::Permutation(uint64_t key, uint64_t size) : key_(key), size_(size) {
  if (size < 1) fail("a permutation needs at least one element");
  half_bits_ = std::max(1, (static_cast<int>(std::bit_width(size - 1)) + 1) / 2);
}

uint64_t Permutation::operator()(uint64_t index) const {
  assert(index < size_);
  constexpr uint64_t kRounds = 6;  // four make it pseudorandom (Luby and Rackoff), two are margin
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  do {
    uint64_t left = index >> half_bits_;
    uint64_t right = index & mask;
    for (uint64_t round = 0; round < kRounds; ++round) {
      const uint64_t next = left ^ (mix(key_ + mix(right + (round << 32 << 8))) & mask);
      left = right;
      right = next;
    }
    index = left << half_bits_ | right;
  } while (index >= size_);
  return index;
}

}  // namespace praxino
