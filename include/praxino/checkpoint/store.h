#pragma once
// Checkpoints: directories that appear by one rename after every file in them is written and synced
// (docs/formats.md). Loading verifies every byte against the manifest.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "praxino/checkpoint/tensors.h"

namespace praxino {

/// All that is needed to go on. `files` name -> tensors: "model", "ema", "optimizer". `state_json`
/// is one JSON object (step, seeds, data position, configuration hash, counters); `texts` are
/// further small files kept beside ("config.yaml", "dataset.yaml").
struct TrainState {
  int64_t step = 0;
  std::map<std::string, NamedTensors> files;
  std::string state_json;
  std::map<std::string, std::string> texts;
};

/// Steps of the checkpoints in a folder `checkpoints/`, ascending (by name; not verified). Reads
/// only; none for a folder that does not exist.
std::vector<int64_t> checkpoint_steps(const std::filesystem::path& folder);
/// Where the checkpoint of a step lies: folder/step-00000200.
std::filesystem::path checkpoint_directory(const std::filesystem::path& folder, int64_t step);

/// The ranks that write one checkpoint together, into a folder that all of them see.
struct SaveGroup {
  int64_t rank = 0;
  int64_t ranks = 1;
  /// The texts of all ranks, by rank, once every rank has called it. Throws praxino::Error where a
  /// rank is gone. It is called by save() and load_newest(), one at a time. A group of one needs
  /// none.
  std::function<std::vector<std::string>(const std::string&)> exchange = {};
};

/// Whether to load the tensor of that name, of what TrainState::files calls `file`.
using WantedTensor = std::function<bool(const std::string& file, const std::string& tensor)>;

/// `checkpoints/` of one run. Not thread-safe; one group of ranks writes, others may read
/// meanwhile.
class CheckpointStore {
 public:
  /// Creates the folder when needed. Rank 0 removes what a torn save left behind (".tmp-*") and
  /// puts back a checkpoint that a torn replacement had moved aside (".old-*"), but leaves alone
  /// what a living process is writing at this moment.
  explicit CheckpointStore(std::filesystem::path folder, int64_t keep = 3, SaveGroup group = {});

  /// Writes step-%08d: all files, each synced, manifest.json last, folder synced, one rename,
  /// parent synced. An existing directory of that step is replaced in the same careful way. Then
  /// deletes the oldest beyond `keep`, but never the newest one that verifies, nor the one just
  /// written. On any error the older checkpoints are untouched and nothing half-written has the
  /// name. Tensors may be on any device; those elsewhere are copied to the CPU a file at a time.
  ///
  /// Of several ranks every one calls it, with its own share of the tensors, each of which one
  /// rank alone has, under the same names in `files`; step is the same, and the texts are those of
  /// rank 0. When all ranks have written and synced their files, rank 0 renames. Returns when it
  /// has, or throws on every rank, naming the ranks that failed and why.
  void save(const TrainState& state);

  /// Steps of the checkpoints present, ascending (by name; not verified).
  std::vector<int64_t> steps() const;

  /// The newest checkpoint whose every file has the size and hash of its manifest; a damaged one is
  /// named in a warning and the one before it is tried. Nothing when there is none; praxino::Error
  /// when there are some but none is whole.
  ///
  /// Of several ranks every one calls it, verifies its part of the files and reads the tensors that
  /// it wants; all take the same checkpoint, or throw the same.
  std::optional<TrainState> load_newest(const WantedTensor& wanted = {}) const;
  /// A particular one; throws praxino::Error naming the damaged file and what is wrong.
  TrainState load(int64_t step) const;

  std::filesystem::path directory(int64_t step) const;

 private:
  void retain(int64_t just_written) const;
  std::vector<std::string> tell_steps() const;

  std::filesystem::path folder_;
  int64_t keep_;
  SaveGroup group_;
};

/// Names every file of a checkpoint directory that is missing, of the wrong size or hash, and what
/// is wrong with it; empty: whole. Files that the manifest does not list are never read.
std::vector<std::string> verify_checkpoint(const std::filesystem::path& directory);
/// Loads one checkpoint directory, verified, however many ranks wrote it. Tensors are CPU copies
/// that own their memory.
TrainState load_checkpoint(const std::filesystem::path& directory);

}  // namespace praxino
