#pragma once
// The safetensors format on the level of bytes (docs/formats.md), without LibTorch, so that
// sidecars and checkpoints share one strict parser. Written files are byte-identical to the
// reference writer's order: by dtype (largest alignment first), then name; header padded with
// spaces to 8 bytes. Thread-safe for reading: const functions only.

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "praxino/base/file.h"
#include "praxino/base/hash.h"

namespace praxino {

/// One named array: row-major, little-endian. `data` points into the file's mapping or the caller's
/// memory; in a file of another writer it may be unaligned for its dtype.
struct RawTensor {
  std::string name;
  std::string dtype;           // "F32", "BF16", "I64", "U8", ... as the format spells them
  std::vector<int64_t> shape;  // empty: a scalar
  std::span<const std::byte> data;
};

/// Bytes of one element; throws praxino::Error for an unknown dtype (and for those smaller than a
/// byte).
int64_t dtype_size(std::string_view dtype);

/// A mapped, fully validated file: header size and JSON, no duplicate keys, offsets contiguous
/// without hole or overlap and covering the file exactly, shape x dtype == bytes with overflow
/// checks. Throws praxino::Error naming the file, the tensor and what is wrong. Owns the mapping.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(std::filesystem::path path);
  const std::vector<RawTensor>& tensors() const { return tensors_; }  // in file order
  const RawTensor* find(std::string_view name) const;                 // nullptr when absent
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::vector<RawTensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::vector<size_t> by_name_;  // indices into tensors_, sorted by name
};

/// Size and XXH3-128 of a file as it was written.
struct WrittenFile {
  uint64_t size = 0;
  Hash128 hash;
};

/// Writes and syncs `path` (not atomically: the caller renames the folder). Throws praxino::Error.
WrittenFile write_safetensors(const std::filesystem::path& path, std::vector<RawTensor> tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace praxino
