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
inline constexpr std::string_view kStateName = "state.json";  // of TrainState::state_json

struct ManifestEntry {
  std::string name;  // of a file in the directory: letters, digits, '.', '_', '-'
  WrittenFile file;
};

struct Manifest {
  int64_t step = 0;
  int64_t ranks = 1;                 // that wrote it; each file of tensors has a part from each
  std::vector<ManifestEntry> files;  // sorted by name
};

/// May a file of a checkpoint be called so? No separators, no leading dot, at most 200 characters.
bool is_plain_name(std::string_view name);

/// One line of JSON an entry, and back. Throws praxino::Error for a line that is none.
std::string print_entries(const std::vector<ManifestEntry>& entries);
std::vector<ManifestEntry> parse_entries(const std::string& lines);

/// The text of the file. It ends with the hash of all that stands before the hash.
std::string print_manifest(const Manifest& manifest);

/// Reads and checks `directory`/manifest.json: no file of tensors lacks a rank's part. Throws
/// praxino::Error naming the file and what is wrong.
Manifest read_manifest(const std::filesystem::path& directory);

/// What is wrong with the files that one of `ranks` looks at, which all together look at all;
/// texts, which every rank reads, each looks at itself.
std::vector<std::string> damages(const std::filesystem::path& directory, const Manifest& manifest,
                                 int64_t rank, int64_t ranks);

/// What is wrong with one file; empty: it has the size and hash of its entry.
std::string damage(const std::filesystem::path& directory, const ManifestEntry& entry);

}  // namespace praxino
