#pragma once
// manifest.json: what a checkpoint directory consists of. Written last; it seals the others and
// itself.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "praxino/base/safetensors.h"

namespace praxino {

inline constexpr std::string_view kManifestName = "manifest.json";

struct ManifestEntry {
  std::string name;  // of a file in the directory: letters, digits, '.', '_', '-'
  WrittenFile file;
};

struct Manifest {
  int64_t step = 0;
  std::vector<ManifestEntry> files;  // sorted by name
};

/// May a file of a checkpoint be called so? No separators, no leading dot, at most 200 characters.
bool is_plain_name(std::string_view name);

/// The text of the file. It ends with the hash of all that stands before the hash.
std::string print_manifest(const Manifest& manifest);

/// Reads and checks `directory`/manifest.json. Throws praxino::Error naming the file and what is
/// wrong.
Manifest read_manifest(const std::filesystem::path& directory);

/// What is wrong with one file; empty: it has the size and hash of its entry.
std::string damage(const std::filesystem::path& directory, const ManifestEntry& entry);

}  // namespace praxino
