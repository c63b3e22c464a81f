#pragma once
// XXH3 (128 bit) for content and manifests, CRC-32C for TensorBoard records. Pure functions,
// thread-safe.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace praxino {

struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Hash128&) const = default;
  std::string hex() const;  // 32 lower-case digits, high half first (as `xxhsum -H2` prints)
};

Hash128 xxh3_128(std::span<const std::byte> bytes);
Hash128 xxh3_128(std::string_view bytes);
uint64_t xxh3_64(std::string_view bytes, uint64_t seed = 0);
/// The hash of a whole file, read in pieces. Throws praxino::Error naming the path.
Hash128 hash_file(const std::filesystem::path& path);

/// The same hash over bytes that arrive in pieces.
class StreamHash {
 public:
  StreamHash();
  ~StreamHash();
  StreamHash(StreamHash&&) noexcept;
  void update(std::span<const std::byte> bytes);
  Hash128 digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// CRC-32C (Castagnoli), as TensorBoard event files use it; crc32c("123456789") == 0xe3069283.
uint32_t crc32c(std::string_view bytes);

}  // namespace praxino
