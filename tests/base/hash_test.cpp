#include "praxino/base/hash.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <string>

#include "praxino/base/file.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

/// `size` bytes that do not repeat soon.
std::string sample(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 1;
  for (char& c : bytes) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

TEST(Hash, EqualsTheLibraryForEveryLengthClass) {
  for (const size_t size : {0, 1, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 1023, 4096, 100'000}) {
    const std::string bytes = sample(size);
    const XXH128_hash_t expected = XXH3_128bits(bytes.data(), size);
    EXPECT_EQ(xxh3_128(bytes), (Hash128{.low = expected.low64, .high = expected.high64})) << size;
    EXPECT_EQ(xxh3_64(bytes, 42), XXH3_64bits_withSeed(bytes.data(), size, 42)) << size;
  }
}

TEST(Hash, HexPutsTheHighHalfFirst) {
  EXPECT_EQ(xxh3_128("").hex(), "99aa06d3014798d86001c324468d497f");  // as `xxhsum -H2` prints
  EXPECT_EQ((Hash128{.low = 1, .high = 2}).hex(), "00000000000000020000000000000001");
}

TEST(Hash, PiecesGiveTheHashOfTheWhole) {
  const std::string bytes = sample(10'000);
  for (const size_t piece : {1, 7, 64, 4097}) {
    StreamHash hash;
    for (size_t i = 0; i < bytes.size(); i += piece) {
      hash.update(std::as_bytes(std::span(bytes).subspan(i, std::min(piece, bytes.size() - i))));
    }
    EXPECT_EQ(hash.digest(), xxh3_128(bytes)) << piece;
  }
}

TEST(Hash, OfAFileIsTheHashOfItsBytes) {
  const testing::TemporaryFolder folder;
  for (const size_t size : {size_t{0}, size_t{5}, (size_t{2} << 20) + 3}) {
    const std::string bytes = sample(size);
    write_file_atomic(folder / "a", bytes);
    EXPECT_EQ(hash_file(folder / "a"), xxh3_128(bytes)) << size;
  }
}

TEST(Crc32c, KnownAnswers) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, appendix B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
}

TEST(Crc32c, EightBytesAtATimeEqualOneBitAtATime) {
  for (size_t size = 0; size < 40; ++size) {
    const std::string bytes = sample(size);
    uint32_t expected = 0xffffffff;
    for (const char c : bytes) {
      expected ^= static_cast<uint8_t>(c);
      for (int bit = 0; bit < 8; ++bit)
        expected = (expected >> 1) ^ ((expected & 1) ? 0x82f63b78 : 0);
    }
    EXPECT_EQ(crc32c(bytes), ~expected) << size;
  }
}

}  // namespace
}  // namespace praxino
