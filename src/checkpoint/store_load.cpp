// Checkpoints are read here, and written in store.cpp.

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "checkpoint/agree.h"
#include "checkpoint/folder.h"
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

/// Of a manifest's files the wanted tensors and all texts, as they are.
TrainState read_files(const fs::path& directory, const Manifest& manifest,
                      const WantedTensor& wanted) {
  TrainState state;
  state.step = manifest.step;
  for (const ManifestEntry& entry : manifest.files) {
    const fs::path path = directory / entry.name;
    if (const std::optional<ShardFile> shard = parse_shard_file(entry.name)) {
      const auto own = [&](const std::string& tensor) {
        return !wanted || wanted(shard->name, tensor);
      };
      join_part(state.files[shard->name], load_tensors(path, own), path);
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

/// What `group.rank` wants, after it has verified its part.
TrainState load_part(const fs::path& directory, const SaveGroup& group,
                     const WantedTensor& wanted) {
  const Manifest manifest = read_manifest(directory);
  const std::vector<std::string> found = damages(directory, manifest, group.rank, group.ranks);
  if (!found.empty()) {
    fail("checkpoint '{}' is damaged: {}", directory.string(), fmt::join(found, "; "));
  }
  return read_files(directory, manifest, wanted);
}

/// The same, which must be of that step.
TrainState load_step(const fs::path& directory, int64_t step, const SaveGroup& group,
                     const WantedTensor& wanted) {
  TrainState state = load_part(directory, group, wanted);
  if (state.step != step) {
    fail("'{}' holds the checkpoint of step {}; its folder was renamed", directory.string(),
         state.step);
  }
  return state;
}

}  // namespace

// All ranks go through the steps that rank 0 sees.
std::vector<std::string> CheckpointStore::tell_steps() const {
  return tell_outcomes(group_,
                       [&] { return group_.rank == 0 ? print_steps(steps()) : std::string(); });
}

std::optional<TrainState> CheckpointStore::load_newest(const WantedTensor& wanted) const {
  const std::vector<int64_t> present = parse_steps(require_done(group_, tell_steps()).front());
  std::string newest;
  for (auto step = present.rbegin(); step != present.rend(); ++step) {
    TrainState state;
    const std::string problems = failures(group_, tell_outcomes(group_, [&] {
                                            state =
                                                load_step(directory(*step), *step, group_, wanted);
                                            return std::string();
                                          }));
    if (problems.empty()) return state;
    if (newest.empty()) newest = problems;
    if (group_.rank > 0) continue;
    log::warning("checkpoint of step {} cannot be used, trying the one before it: {}", *step,
                 problems);
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
  return load_step(directory(step), step, {}, {});
}

std::vector<std::string> verify_checkpoint(const fs::path& directory) {
  try {
    return damages(directory, read_manifest(directory), 0, 1);
  } catch (const Error& error) {
    return {error.what()};
  }
}

TrainState load_checkpoint(const fs::path& directory) { return load_part(directory, {}, {}); }

}  // namespace praxino
