#include "checkpoint/shard_file.h"

#include <fmt/format.h>

#include <charconv>

namespace praxino {
namespace {

constexpr std::string_view kSuffix = ".safetensors";
constexpr std::string_view kPattern = "-00000-of-00000";
constexpr size_t kDigits = 5;
// Other programs look for the weights of one process under a plain name; moments have always had
// a number.
constexpr std::string_view kAlwaysNumbered = "optimizer";

std::optional<int64_t> parse_number(std::string_view digits) {
  int64_t number = 0;
  const char* end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, number);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(number) : std::nullopt;
}

}  // namespace

std::string print_shard_file(const ShardFile& shard) {
  const bool numbered = shard.ranks > 1 || shard.name == kAlwaysNumbered;
  const std::string number =
      numbered ? fmt::format("-{:05d}-of-{:05d}", shard.rank, shard.ranks) : "";
  return fmt::format("{}{}{}", shard.name, number, kSuffix);
}

std::optional<ShardFile> parse_shard_file(std::string_view file) {
  if (!file.ends_with(kSuffix)) return std::nullopt;
  const std::string_view stem = file.substr(0, file.size() - kSuffix.size());
  if (stem.size() > kPattern.size()) {
    const std::string_view tail = stem.substr(stem.size() - kPattern.size());
    const std::optional<int64_t> rank = parse_number(tail.substr(1, kDigits));
    const std::optional<int64_t> ranks = parse_number(tail.substr(kPattern.size() - kDigits));
    if (rank && ranks && *rank >= 0 && *rank < *ranks) {
      ShardFile shard{.name = std::string(stem.substr(0, stem.size() - tail.size())),
                      .rank = *rank,
                      .ranks = *ranks};
      if (print_shard_file(shard) == file) return shard;
    }
  }
  return ShardFile{.name = std::string(stem)};
}

}  // namespace praxino
