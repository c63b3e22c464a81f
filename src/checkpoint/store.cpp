#include "praxino/checkpoint/store.h"

#include <algorithm>
#include <random>
#include <system_error>

#include "checkpoint/agree.h"
#include "checkpoint/folder.h"
#include "checkpoint/manifest.h"
#include "checkpoint/shard_file.h"
#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/hash.h"
#include "praxino/base/log.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;

WrittenFile write_text(const fs::path& path, std::string_view text) {
  OutputFile file(path);
  file.write(text);
  file.close();
  return {.size = text.size(), .hash = xxh3_128(text)};
}

void check_names(const TrainState& state, const SaveGroup& group) {
  TORCH_CHECK(state.step >= 0, "TrainState: step ", state.step, " is negative");
  for (const auto& [name, tensors] : state.files) {
    const std::string file = print_shard_file({name, group.rank, group.ranks});
    TORCH_CHECK(is_plain_name(file) && parse_shard_file(file)->name == name,
                "TrainState: bad file name ", name);
  }
  for (const auto& [name, text] : state.texts) {
    TORCH_CHECK(is_plain_name(name) && name != kStateName && name != kManifestName &&
                    !parse_shard_file(name),
                "TrainState: bad name of a text ", name);
  }
}

/// Where a save is prepared. A rank of an earlier start that is still writing must not meet the
/// files of this one: no two saves have the same folder.
std::string draft_name(int64_t step) {
  return fmt::format("{}{}-{:08x}", kUnfinished, step_name(step), std::random_device()());
}

/// This rank's part of a checkpoint: its tensors, and of rank 0 the texts.
std::vector<ManifestEntry> write_part(const fs::path& draft, const TrainState& state,
                                      const SaveGroup& group) {
  if (!fs::is_directory(draft)) {
    fail("'{}', which rank 0 has made, is not there; all ranks must see the same run.output",
         draft.string());
  }
  const std::string wanted = std::string(kUnfinished) + step_name(state.step) + "-";
  if (!draft.filename().string().starts_with(wanted)) {
    fail("rank 0 saves '{}', and this rank step {}", draft.string(), state.step);
  }
  std::vector<ManifestEntry> files;
  for (const auto& [name, tensors] : state.files) {
    const std::string file = print_shard_file({name, group.rank, group.ranks});
    files.push_back({file, save_tensors(draft / file, tensors)});
  }
  if (group.rank == 0) {
    for (const auto& [name, text] : state.texts) {
      files.push_back({name, write_text(draft / name, text)});
    }
    const std::string state_name(kStateName);
    files.push_back({state_name, write_text(draft / state_name, state.state_json)});
  } else {
    sync_directory(draft);  // this machine's view of it
  }
  return files;
}

/// The manifest of what the ranks have told of their parts.
Manifest join_parts(int64_t step, const std::vector<std::string>& parts) {
  Manifest manifest{.step = step, .ranks = static_cast<int64_t>(parts.size()), .files = {}};
  for (const std::string& part : parts) {
    for (ManifestEntry& entry : parse_entries(part)) manifest.files.push_back(std::move(entry));
  }
  std::sort(manifest.files.begin(), manifest.files.end(),
            [](const ManifestEntry& a, const ManifestEntry& b) { return a.name < b.name; });
  return manifest;
}

/// All files are there: the manifest, then the folder itself.
void seal(const fs::path& draft, const Manifest& manifest) {
  for (const ManifestEntry& entry : manifest.files) {
    std::error_code code;
    const uint64_t size = fs::file_size(draft / entry.name, code);
    if (code || size != entry.file.size) {
      fail("'{}' is not there as its rank wrote it; all ranks must see the same run.output",
           (draft / entry.name).string());
    }
  }
  write_text(draft / kManifestName, print_manifest(manifest));
  sync_directory(draft);
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

/// All ranks call it and get the same answer.
bool is_whole(const fs::path& directory, const SaveGroup& group) {
  const auto verify = [&] {
    const Manifest manifest = read_manifest(directory);
    if (!damages(directory, manifest, group.rank, group.ranks).empty()) fail("damaged");
    return std::string();
  };
  return failures(group, tell_outcomes(group, verify)).empty();
}

[[noreturn]] void fail_unsaved(int64_t step, std::string_view why) {
  fail("the checkpoint of step {} was not saved (older ones are untouched): {}", step, why);
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

CheckpointStore::CheckpointStore(fs::path folder, int64_t keep, SaveGroup group)
    : folder_(std::move(folder)), keep_(std::max<int64_t>(keep, 1)), group_(std::move(group)) {
  std::error_code code;
  fs::create_directories(folder_, code);
  if (code) fail("cannot create the checkpoint folder '{}': {}", folder_.string(), code.message());
  if (group_.rank != 0) return;
  const FileLock lock(folder_, FileLock::Mode::kTry);
  if (lock.held()) repair_folder(folder_);
}

fs::path CheckpointStore::directory(int64_t step) const {
  return checkpoint_directory(folder_, step);
}

void CheckpointStore::save(const TrainState& state) {
  check_names(state, group_);
  std::optional<FileLock> lock;  // both of rank 0
  std::optional<ScratchFolder> draft;
  std::vector<std::string> parts, ends;
  const auto prepare = [&] {
    if (group_.rank != 0) return std::string();
    lock.emplace(folder_, FileLock::Mode::kWait);
    draft.emplace(folder_ / draft_name(state.step));
    return draft->path().filename().string();
  };
  const auto commit = [&] {
    if (group_.rank == 0) {
      seal(draft->path(), join_parts(state.step, parts));
      publish(draft->path(), directory(state.step));
    }
    return std::string();
  };
  try {
    const std::string name = require_done(group_, tell_outcomes(group_, prepare)).front();
    parts = require_done(group_, tell_outcomes(group_, [&] {
                           return print_entries(write_part(folder_ / name, state, group_));
                         }));
  } catch (const Error& error) {
    fail_unsaved(state.step, error.what());
  }
  try {
    ends = tell_outcomes(group_, commit);
  } catch (const Error& error) {
    fail("the ranks could not tell each other whether the checkpoint of step {} was saved: {}",
         state.step, error.what());
  }
  const std::string failed = failures(group_, ends);
  if (!failed.empty()) fail_unsaved(state.step, failed);
  retain(state.step);
}

// What a rank cannot do here only leaves more than is wanted; that a rank is gone ends the save.
void CheckpointStore::retain(int64_t just_written) const {
  const std::vector<std::string> told = tell_steps();
  if (const std::string problems = failures(group_, told); !problems.empty()) {
    log::warning("old checkpoints stay: {}", problems);
    return;
  }
  std::vector<int64_t> present = parse_steps(require_done(group_, told).front());
  const auto keep = static_cast<size_t>(keep_);
  if (present.size() <= keep) return;
  // Read back from the newest on, each rank its part: something whole must remain.
  int64_t whole = -1;
  for (auto step = present.rbegin(); step != present.rend() && whole < 0; ++step) {
    if (is_whole(directory(*step), group_)) whole = *step;
  }
  if (group_.rank != 0) return;
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

}  // namespace praxino
