#include "praxino/checkpoint/store.h"

#include <algorithm>
#include <system_error>

#include "checkpoint/folder.h"
#include "checkpoint/manifest.h"
#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/hash.h"
#include "praxino/base/log.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStateName = "state.json";
constexpr std::string_view kTensorSuffix = ".safetensors";

WrittenFile write_text(const fs::path& path, std::string_view text) {
  OutputFile file(path);
  file.write(text);
  file.close();
  return {.size = text.size(), .hash = xxh3_128(text)};
}

void check_names(const TrainState& state) {
  TORCH_CHECK(state.step >= 0, "TrainState: step ", state.step, " is negative");
  for (const auto& [name, tensors] : state.files) {
    TORCH_CHECK(is_plain_name(name + std::string(kTensorSuffix)), "TrainState: bad file name ",
                name);
  }
  for (const auto& [name, text] : state.texts) {
    TORCH_CHECK(is_plain_name(name) && name != kStateName && name != kManifestName &&
                    !name.ends_with(kTensorSuffix),
                "TrainState: bad name of a text ", name);
  }
}

/// Every file, then the manifest, then the folder itself.
void write_files(const fs::path& folder, const TrainState& state) {
  Manifest manifest{.step = state.step, .files = {}};
  for (const auto& [name, tensors] : state.files) {
    const std::string file = name + std::string(kTensorSuffix);
    manifest.files.push_back({file, save_tensors(folder / file, tensors)});
  }
  for (const auto& [name, text] : state.texts) {
    manifest.files.push_back({name, write_text(folder / name, text)});
  }
  const std::string state_name(kStateName);
  manifest.files.push_back({state_name, write_text(folder / state_name, state.state_json)});
  std::sort(manifest.files.begin(), manifest.files.end(),
            [](const ManifestEntry& a, const ManifestEntry& b) { return a.name < b.name; });
  write_text(folder / kManifestName, print_manifest(manifest));
  sync_directory(folder);
}

/// `draft` becomes `target`. What was there is moved aside first and removed last, so that at every
/// moment one of both is whole (repair_folder puts it back).
void publish(const fs::path& draft, const fs::path& target) {
  const fs::path folder = target.parent_path();
  if (!fs::exists(target)) {
    rename_directory(draft, target);
    sync_directory(folder);
    return;
  }
  const fs::path aside = folder / (std::string(kSetAside) + target.filename().string());
  std::error_code ignored;
  fs::remove_all(aside, ignored);
  rename_directory(target, aside);
  try {
    rename_directory(draft, target);
  } catch (const Error&) {
    fs::rename(aside, target, ignored);
    throw;
  }
  sync_directory(folder);
  fs::remove_all(aside, ignored);
}

}  // namespace

std::vector<int64_t> checkpoint_steps(const fs::path& folder) {
  std::vector<int64_t> steps;
  if (!fs::exists(folder)) return steps;
  std::error_code code;
  const fs::directory_iterator entries(folder, code);
  if (code) fail("cannot list the checkpoint folder '{}': {}", folder.string(), code.message());
  for (const fs::directory_entry& entry : entries) {
    const std::optional<int64_t> step = parse_step_name(entry.path().filename().string());
    if (step && entry.is_directory()) steps.push_back(*step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

fs::path checkpoint_directory(const fs::path& folder, int64_t step) {
  return folder / step_name(step);
}

CheckpointStore::CheckpointStore(fs::path folder, int64_t keep)
    : folder_(std::move(folder)), keep_(std::max<int64_t>(keep, 1)) {
  std::error_code code;
  fs::create_directories(folder_, code);
  if (code) fail("cannot create the checkpoint folder '{}': {}", folder_.string(), code.message());
  const FileLock lock(folder_, FileLock::Mode::kTry);
  if (lock.held()) repair_folder(folder_);
}

fs::path CheckpointStore::directory(int64_t step) const {
  return checkpoint_directory(folder_, step);
}

void CheckpointStore::save(const TrainState& state) {
  check_names(state);
  const FileLock lock(folder_, FileLock::Mode::kWait);
  try {
    const ScratchFolder draft(folder_ / (std::string(kUnfinished) + step_name(state.step)));
    write_files(draft.path(), state);
    publish(draft.path(), directory(state.step));
  } catch (const Error& error) {
    fail("the checkpoint of step {} was not saved (older ones are untouched): {}", state.step,
         error.what());
  }
  retain(state.step);
}

void CheckpointStore::retain(int64_t just_written) const {
  std::vector<int64_t> present = steps();
  const auto keep = static_cast<size_t>(keep_);
  if (present.size() <= keep) return;
  // Read back from the newest on: something whole must remain.
  int64_t whole = -1;
  for (auto step = present.rbegin(); step != present.rend() && whole < 0; ++step) {
    if (verify_checkpoint(directory(*step)).empty()) whole = *step;
  }
  present.resize(present.size() - keep);
  for (const int64_t step : present) {
    if (step == whole || step == just_written) continue;
    try {
      remove_checkpoint(directory(step));
    } catch (const Error& error) {
      log::warning("an old checkpoint stays: {}", error.what());
    }
  }
}

std::vector<int64_t> CheckpointStore::steps() const { return checkpoint_steps(folder_); }

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
    if (entry.name.ends_with(kTensorSuffix)) {
      const size_t length = entry.name.size() - kTensorSuffix.size();
      state.files.emplace(entry.name.substr(0, length), load_tensors(path));
    } else if (entry.name == kStateName) {
      state.state_json = read_file(path);
    } else {
      state.texts.emplace(entry.name, read_file(path));
    }
  }
  return state;
}

}  // namespace praxino
