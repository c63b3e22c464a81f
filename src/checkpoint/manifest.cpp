#include "checkpoint/manifest.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <system_error>

#include "checkpoint/shard_file.h"
#include "praxino/base/error.h"
#include "praxino/base/file.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr uint64_t kLargestManifest = uint64_t{1} << 24;
constexpr std::string_view kFormat = "praxino-checkpoint";
constexpr int64_t kVersionOfOne = 1;    // of a process that saved alone
constexpr int64_t kVersionOfRanks = 2;  // has a layout
constexpr int64_t kMostRanks = 99'999;  // five digits
constexpr size_t kLongestName = 200;

/// The last line: no byte before it can change unnoticed, and its own bytes are all known.
std::string seal(std::string_view body) {
  return " \"seal\": \"" + xxh3_128(body).hex() + "\"\n}\n";
}

Hash128 parse_hash(const std::string& hex) {
  const bool plain = hex.size() == 32 && hex.find_first_not_of("0123456789abcdef") == hex.npos;
  if (!plain) fail("'{}' is not a hash of 32 hexadecimal digits", hex);
  return {.low = std::stoull(hex.substr(16), nullptr, 16),
          .high = std::stoull(hex.substr(0, 16), nullptr, 16)};
}

ManifestEntry parse_entry(const Json& json) {
  ManifestEntry entry;
  entry.name = json.at("name").get<std::string>();
  if (!is_plain_name(entry.name) || entry.name == kManifestName) {
    fail("the file name '{}' is not allowed", entry.name);
  }
  if (!json.at("size").is_number_unsigned())
    fail("the size of '{}' is not a whole number", entry.name);
  entry.file.size = json.at("size").get<uint64_t>();
  entry.file.hash = parse_hash(json.at("xxh3_128").get<std::string>());
  return entry;
}

Json to_json(const ManifestEntry& entry) {
  return {{"name", entry.name}, {"size", entry.file.size}, {"xxh3_128", entry.file.hash.hex()}};
}

int64_t parse_ranks(const Json& json) {
  const Json& version = json.at("version");
  if (version == kVersionOfOne) return 1;
  if (version != kVersionOfRanks) {
    fail("version {} is unknown to this build, which reads versions {} and {}", version.dump(),
         kVersionOfOne, kVersionOfRanks);
  }
  const Json& ranks = json.at("layout").at("ranks");
  const bool several = ranks.is_number_unsigned() && ranks > 1 && ranks <= kMostRanks;
  if (!several) fail("its layout has {} ranks", ranks.dump());
  return ranks.get<int64_t>();
}

/// Every file of tensors must have its part from each rank.
void require_all_parts(const Manifest& manifest) {
  std::map<std::string, int64_t> parts;
  for (const ManifestEntry& entry : manifest.files) {
    const std::optional<ShardFile> shard = parse_shard_file(entry.name);
    if (!shard) continue;
    if (shard->ranks != manifest.ranks) {
      fail("it was written by {} ranks, and lists '{}'", manifest.ranks, entry.name);
    }
    ++parts[shard->name];
  }
  for (const auto& [name, count] : parts) {
    if (count != manifest.ranks) {
      fail("it lists {} of {} parts of '{}'", count, manifest.ranks, name);
    }
  }
}

Manifest parse(const std::string& text) {
  const size_t tail = seal("").size();
  if (text.size() < tail) fail("it has only {} bytes", text.size());
  const std::string_view body = std::string_view(text).substr(0, text.size() - tail);
  if (seal(body) != std::string_view(text).substr(body.size())) {
    fail("its bytes do not match its seal");
  }
  const Json json = Json::parse(text);
  if (json.at("format") != kFormat) fail("it is not of format {}", kFormat);
  Manifest manifest;
  manifest.ranks = parse_ranks(json);
  if (!json.at("step").is_number_unsigned()) fail("its step is not a whole number");
  manifest.step = json.at("step").get<int64_t>();
  std::set<std::string> seen;
  for (const Json& item : json.at("files")) {
    manifest.files.push_back(parse_entry(item));
    if (!seen.insert(manifest.files.back().name).second) {
      fail("it lists '{}' twice", manifest.files.back().name);
    }
  }
  require_all_parts(manifest);
  return manifest;
}

}  // namespace

bool is_plain_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kLongestName && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), plain);
}

std::string print_entries(const std::vector<ManifestEntry>& entries) {
  std::string lines;
  for (const ManifestEntry& entry : entries) lines += to_json(entry).dump() + "\n";
  return lines;
}

std::vector<ManifestEntry> parse_entries(const std::string& lines) {
  std::vector<ManifestEntry> entries;
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) {
    try {
      entries.push_back(parse_entry(Json::parse(line)));
    } catch (const Json::exception& error) {
      fail("'{}' names no file: {}", line, error.what());
    }
  }
  return entries;
}

std::string print_manifest(const Manifest& manifest) {
  const bool several = manifest.ranks > 1;
  const int64_t version = several ? kVersionOfRanks : kVersionOfOne;
  std::string body = "{\n \"format\": " + Json(kFormat).dump() +
                     ",\n \"version\": " + std::to_string(version) +
                     ",\n \"step\": " + std::to_string(manifest.step);
  if (several) body += ",\n \"layout\": {\"ranks\": " + std::to_string(manifest.ranks) + "}";
  body += ",\n \"files\": [";
  for (const ManifestEntry& entry : manifest.files) {
    body += (&entry == &manifest.files.front() ? "\n  " : ",\n  ") + to_json(entry).dump();
  }
  body += "\n ],\n";
  return body + seal(body);
}

Manifest read_manifest(const fs::path& directory) {
  const fs::path path = directory / kManifestName;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    fail("checkpoint file '{}' is missing", path.string());
  }
  const std::string text = read_file(path, kLargestManifest);
  try {
    return parse(text);
  } catch (const Error& error) {
    fail("checkpoint file '{}' is damaged: {}", path.string(), error.what());
  } catch (const Json::exception& error) {
    fail("checkpoint file '{}' is damaged: {}", path.string(), error.what());
  }
}

std::string damage(const fs::path& directory, const ManifestEntry& entry) {
  const fs::path path = directory / entry.name;
  std::error_code code;
  const fs::file_status status = fs::symlink_status(path, code);
  if (!fs::exists(status)) return fmt::format("'{}' is missing", path.string());
  if (!fs::is_regular_file(status)) return fmt::format("'{}' is not a regular file", path.string());
  const uint64_t size = fs::file_size(path, code);
  if (code || size != entry.file.size) {
    return fmt::format("'{}' has {} bytes instead of {}", path.string(), size, entry.file.size);
  }
  if (hash_file(path) != entry.file.hash) {
    return fmt::format("'{}' has changed since it was written (its hash differs)", path.string());
  }
  return {};
}

std::vector<std::string> damages(const fs::path& directory, const Manifest& manifest, int64_t rank,
                                 int64_t ranks) {
  std::vector<std::string> found;
  for (size_t i = 0; i < manifest.files.size(); ++i) {
    const ManifestEntry& entry = manifest.files[i];
    const bool own = static_cast<int64_t>(i) % ranks == rank || !parse_shard_file(entry.name);
    std::string text = own ? damage(directory, entry) : "";
    if (!text.empty()) found.push_back(std::move(text));
  }
  return found;
}

}  // namespace praxino
