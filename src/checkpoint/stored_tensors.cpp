#include "praxino/checkpoint/stored_tensors.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <utility>

#include "checkpoint/manifest.h"
#include "checkpoint/shard_file.h"
#include "praxino/base/error.h"
#include "praxino/checkpoint/tensors.h"

namespace praxino {

std::optional<StoredTensors> StoredTensors::open(const std::filesystem::path& directory,
                                                 const std::string& name) {
  std::optional<StoredTensors> stored;
  std::string listed;
  for (const ManifestEntry& entry : read_manifest(directory).files) {
    listed += fmt::format("{} {} {}\n", entry.name, entry.file.size, entry.file.hash.hex());
    const std::optional<ShardFile> shard = parse_shard_file(entry.name);
    if (!shard || shard->name != name) continue;
    if (!stored) {
      stored.emplace();
      stored->directory_ = directory;
      stored->name_ = name;
    }
    const size_t number = stored->files_.size();
    const SafetensorsFile& file = stored->files_.emplace_back(directory / entry.name);
    for (const RawTensor& tensor : file.tensors()) {
      if (!stored->places_.emplace(tensor.name, Place{number, &tensor}).second) {
        fail("'{}' holds the tensor '{}', and so does another rank's part", file.path().string(),
             tensor.name);
      }
    }
  }
  if (stored) stored->manifest_ = std::move(listed);
  return stored;
}

std::vector<std::string> StoredTensors::names() const {
  std::vector<std::string> names;
  for (const auto& [name, place] : places_) names.push_back(name);
  return names;
}

const std::vector<int64_t>* StoredTensors::sizes(std::string_view tensor) const {
  const auto found = places_.find(tensor);
  return found == places_.end() ? nullptr : &found->second.tensor->shape;
}

at::Tensor StoredTensors::read(std::string_view tensor) const {
  const auto found = places_.find(tensor);
  TORCH_CHECK(found != places_.end(), "StoredTensors: there is no tensor ", tensor);
  return read_tensor(files_[found->second.file].path(), *found->second.tensor);
}

}  // namespace praxino
