#pragma once
// Checkpoints: directories that appear by one rename after every file in them is written and synced
// (docs/formats.md). Loading verifies every byte against the manifest.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "praxino/checkpoint/tensors.h"

namespace praxino {

/// All that is needed to go on. `files` name -> tensors: "model", "ema",
/// "optimizer-00000-of-00001". `state_json` is one JSON object (step, seeds, data position,
/// configuration hash, counters); `texts` are further small files kept beside ("config.yaml",
/// "dataset.yaml").
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

/// `checkpoints/` of one run. Not thread-safe; one process writes, others may read meanwhile.
class CheckpointStore {
 public:
  /// Creates the folder when needed, removes what a torn save left behind (".tmp-*") and puts back
  /// a checkpoint that a torn replacement had moved aside (".old-*"). Leaves alone what a living
  /// process is writing at this moment.
  explicit CheckpointStore(std::filesystem::path folder, int64_t keep = 3);

  /// Writes step-%08d: all files, each synced, manifest.json last, folder synced, one rename,
  /// parent synced. An existing directory of that step is replaced in the same careful way. Then
  /// deletes the oldest beyond `keep`, but never the newest one that verifies, nor the one just
  /// written. On any error the older checkpoints are untouched and nothing half-written has the
  /// name. Tensors may be on any device; those elsewhere are copied to the CPU a file at a time.
  void save(const TrainState& state);

  /// Steps of the checkpoints present, ascending (by name; not verified).
  std::vector<int64_t> steps() const;

  /// The newest checkpoint whose every file has the size and hash of its manifest; a damaged one is
  /// named in a warning and the one before it is tried. Nothing when there is none; praxino::Error
  /// when there are some but none is whole.
  std::optional<TrainState> load_newest() const;
  /// A particular one; throws praxino::Error naming the damaged file and what is wrong.
  TrainState load(int64_t step) const;

  std::filesystem::path directory(int64_t step) const;

 private:
  void retain(int64_t just_written) const;

  std::filesystem::path folder_;
  int64_t keep_;
};

/// Names every file of a checkpoint directory that is missing, of the wrong size or hash, and what
/// is wrong with it; empty: whole. Files that the manifest does not list are never read.
std::vector<std::string> verify_checkpoint(const std::filesystem::path& directory);
/// Loads one checkpoint directory, verified. Tensors are CPU copies that own their memory.
TrainState load_checkpoint(const std::filesystem::path& directory);

}  // namespace praxino
