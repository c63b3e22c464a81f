#pragma once
// Everything random in praxino is a pure function of (run seed, named stream, number): no generator
// is carried along, so order, workers, ranks and resume never change what is drawn. All functions
// are pure and thread-safe.

#include <array>
#include <cstdint>
#include <string_view>

namespace praxino {

/// A 64-bit seed for draw `number` of `stream` in the run with `seed`: XXH3 of the three, mixed.
/// Use it to seed an at::Generator for one sample, or as the key of a Random.
uint64_t derive_seed(uint64_t seed, std::string_view stream, uint64_t number);

/// The block cipher behind Random: Philox-4x32-10 (Salmon et al., SC'11), word for word as
/// Random123 has it.
std::array<uint32_t, 4> philox_4x32_10(std::array<uint32_t, 4> counter,
                                       std::array<uint32_t, 2> key);

/// A counter-based sequence of Philox-4x32-10 blocks: value k depends on (key, k) alone.
class Random {
 public:
  explicit Random(uint64_t key) : key_(key) {}
  uint64_t bits();                          // uniform over all 64-bit values
  double uniform();                         // [0, 1), 53 bits
  double uniform(double low, double high);  // [low, high), low < high
  int64_t integer(
      int64_t count);  // 0 .. count-1, without modulo bias; count >= 1, else praxino::Error
  double normal();     // N(0, 1); uses two values

 private:
  uint64_t key_;
  uint64_t counter_ = 0;
};

/// A bijection of 0 .. size-1 that depends on `key` alone, with O(1) state: a balanced Feistel
/// network over the next even number of bits, with cycle walking. (Black and Rogaway, CT-RSA 2002.)
class Permutation {
 public:
  Permutation(uint64_t key, uint64_t size);   // size >= 1
  uint64_t operator()(uint64_t index) const;  // index < size
  uint64_t size() const { return size_; }

 private:
  uint64_t key_;
  uint64_t size_;
  int half_bits_;
};

}  // namespace praxino
