#include "praxino/base/hash.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <utility>

#include "praxino/base/file.h"

namespace praxino {
namespace {

static_assert(std::endian::native == std::endian::little, "formats and hashes are little-endian");

Hash128 from_library(XXH128_hash_t hash) { return {.low = hash.low64, .high = hash.high64}; }

using Crc32cTables = std::array<std::array<uint32_t, 256>, 8>;

/// Table k advances the checksum over a byte that is followed by k zero bytes ("slicing by 8",
/// Kounavis and Berry, 2008).
constexpr Crc32cTables make_crc32c_tables() {
  constexpr uint32_t kReversedPolynomial = 0x82f63b78;
  Crc32cTables tables = {};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kReversedPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Crc32cTables kCrc32c = make_crc32c_tables();

}  // namespace

std::string Hash128::hex() const { return fmt::format("{:016x}{:016x}", high, low); }

Hash128 xxh3_128(std::span<const std::byte> bytes) {
  return from_library(XXH3_128bits(bytes.data(), bytes.size()));
}

Hash128 xxh3_128(std::string_view bytes) { return xxh3_128(std::as_bytes(std::span(bytes))); }

uint64_t xxh3_64(std::string_view bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

Hash128 hash_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  StreamHash hash;
  constexpr size_t kPiece = size_t{1} << 20;
  for (auto rest = file.bytes(); !rest.empty();
       rest = rest.subspan(std::min(kPiece, rest.size()))) {
    hash.update(rest.first(std::min(kPiece, rest.size())));
  }
  return hash.digest();
}

struct StreamHash::State {
  XXH3_state_t* state = XXH3_createState();
  State() {
    if (state == nullptr) throw std::bad_alloc();
    XXH3_128bits_reset(state);
  }
  ~State() { XXH3_freeState(state); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

StreamHash::StreamHash() : state_(std::make_unique<State>()) {}
StreamHash::~StreamHash() = default;
StreamHash::StreamHash(StreamHash&&) noexcept = default;

void StreamHash::update(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->state, bytes.data(), bytes.size());
}

Hash128 StreamHash::digest() const { return from_library(XXH3_128bits_digest(state_->state)); }

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = 0xffffffff;
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data(), 8);
    word ^= crc;
    crc = 0;
    for (size_t k = 0; k < 8; ++k) crc ^= kCrc32c[7 - k][(word >> (8 * k)) & 0xff];
  }
  for (const char c : bytes) crc = (crc >> 8) ^ kCrc32c[0][(crc ^ static_cast<uint8_t>(c)) & 0xff];
  return ~crc;
}

}  // namespace praxino
