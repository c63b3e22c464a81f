// Checkpoints are read here, and written in store.cpp.

#include <algorithm>
#include <set>

#include "checkpoint/manifest.h"
#include "checkpoint/shard_file.h"
#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/log.h"
#include "praxino/checkpoint/store.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;

/// Each tensor of a name lies in one part.
void join_part(NamedTensors& all, NamedTensors part, const fs::path& path) {
  std::set<std::string_view> known;
  for (const auto& [name, tensor] : all) known.insert(name);
  for (const auto& [name, tensor] : part) {
    if (known.contains(name)) {
      fail("'{}' holds the tensor '{}', and so does another rank's part", path.string(), name);
    }
  }
  all.insert(all.end(), std::make_move_iterator(part.begin()), std::make_move_iterator(part.end()));
}

/// The tensors of one process come in the order of its file; those of several by name.
void sort_parts(NamedTensors& tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
}

}  // namespace

std::optional<TrainState> CheckpointStore::load_newest() const {
  const std::vector<int64_t> present = steps();
  std::string newest;
  for (auto step = present.rbegin(); step != present.rend(); ++step) {
    try {
      return load(*step);
    } catch (const Error& error) {
      log::warning("checkpoint of step {} cannot be used, trying the one before it: {}", *step,
                   error.what());
      if (newest.empty()) newest = error.what();
    }
  }
  if (present.empty()) return std::nullopt;
  fail(
      "none of the {} checkpoints in '{}' is whole (the newest: {}); move the folder away to start "
      "over",
      present.size(), folder_.string(), newest);
}

TrainState CheckpointStore::load(int64_t step) const {
  if (!fs::exists(directory(step))) {
    fail("there is no checkpoint of step {} in '{}'", step, folder_.string());
  }
  TrainState state = load_checkpoint(directory(step));
  if (state.step != step) {
    fail("'{}' holds the checkpoint of step {}; its folder was renamed", directory(step).string(),
         state.step);
  }
  return state;
}

std::vector<std::string> verify_checkpoint(const fs::path& directory) {
  try {
    std::vector<std::string> found;
    for (const ManifestEntry& entry : read_manifest(directory).files) {
      std::string text = damage(directory, entry);
      if (!text.empty()) found.push_back(std::move(text));
    }
    return found;
  } catch (const Error& error) {
    return {error.what()};
  }
}

TrainState load_checkpoint(const fs::path& directory) {
  const Manifest manifest = read_manifest(directory);
  TrainState state;
  state.step = manifest.step;
  for (const ManifestEntry& entry : manifest.files) {
    const std::string found = damage(directory, entry);
    if (!found.empty()) fail("checkpoint '{}' is damaged: {}", directory.string(), found);
    const fs::path path = directory / entry.name;
    if (const std::optional<ShardFile> shard = parse_shard_file(entry.name)) {
      join_part(state.files[shard->name], load_tensors(path), path);
    } else if (entry.name == kStateName) {
      state.state_json = read_file(path);
    } else {
      state.texts.emplace(entry.name, read_file(path));
    }
  }
  if (manifest.ranks > 1) {
    for (auto& [name, tensors] : state.files) sort_parts(tensors);
  }
  return state;
}

std::optional<NamedTensors> load_checkpoint_file(const fs::path& directory,
                                                 const std::string& name) {
  const Manifest manifest = read_manifest(directory);
  std::optional<NamedTensors> tensors;
  for (const ManifestEntry& entry : manifest.files) {
    const std::optional<ShardFile> shard = parse_shard_file(entry.name);
    if (!shard || shard->name != name) continue;
    if (!tensors) tensors.emplace();
    join_part(*tensors, load_tensors(directory / entry.name), directory / entry.name);
  }
  if (tensors && manifest.ranks > 1) sort_parts(*tensors);
  return tensors;
}

}  // namespace praxino
