#pragma once
// A data set is a folder (docs/formats.md): video files at any depth, sidecars beside them,
// dataset.yaml at the top, and the frame indices in `.praxino/index`, built once and kept.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "praxino/base/rational.h"
#include "praxino/config/actions.h"
#include "praxino/config/run.h"
#include "praxino/data/actions.h"
#include "praxino/video/index.h"

namespace praxino {

/// One usable video file with its index and actions.
struct SourceFile {
  std::string name;  // path below the data set folder, with '/'
  std::filesystem::path path;
  std::shared_ptr<const FrameIndex> index;
  ActionTable actions;  // rows == 0: unlabelled
};

/// One file that cannot be used, and why.
struct RefusedFile {
  std::string name;
  std::string reason;
};

/// Everything a loader needs, in memory. Immutable: thread-safe.
class Dataset {
 public:
  /// Scans the folder (any depth, sorted by name; names that begin with a dot are passed over),
  /// builds missing or stale indices with `workers` threads (0: one a core) and a progress line,
  /// reads and checks the sidecars. An index is current while size and mtime of its file are; where
  /// only the mtime differs the content decides. Damaged, unusable or mismatched files (row count
  /// != frame count) and links that leave the folder are listed in refused(), warned about once,
  /// and never fatal unless no file is left. A file without sidecar in a data set that declares
  /// actions is unlabelled: its actions are unknown. Where the folder is read-only, indices are
  /// kept in memory (and said so once).
  static Dataset open(const std::filesystem::path& folder, int workers = 0);

  /// A data set from parts that are in memory already. Throws praxino::Error where a file's rows
  /// are neither none nor one a frame.
  Dataset(std::filesystem::path folder, DatasetConfig config, std::vector<SourceFile> files,
          std::vector<RefusedFile> refused = {});

  const std::filesystem::path& folder() const { return folder_; }
  const DatasetConfig& config() const { return config_; }
  const std::vector<SourceFile>& files() const { return files_; }
  const std::vector<RefusedFile>& refused() const { return refused_; }
  /// XXH3 over names, file hashes and the parsed actions: what the order of samples depends on.
  uint64_t content_hash() const { return content_hash_; }
  /// data.fps if given, else dataset.yaml's, else the files' common mean rate (an error where they
  /// differ). A given rate that is within 0.2 % of the files' common one means that one: 29.97 or
  /// 30 for 30000/1001.
  Rational fps(const DataConfig& data) const;

 private:
  std::filesystem::path folder_;
  DatasetConfig config_;
  std::vector<SourceFile> files_;
  std::vector<RefusedFile> refused_;
  uint64_t content_hash_ = 0;
};

/// A span of one file's frames [first, last) that belongs to one side of the split.
struct Span {
  int64_t file = 0;
  int64_t first = 0;
  int64_t last = 0;
  bool operator==(const Span&) const = default;
};

/// Training and held-out spans; no frame belongs to both, and no training clip reads a held-out
/// frame or its action.
struct Split {
  std::vector<Span> train;
  std::vector<Span> val;  // empty where split.val is 0 and no file is named
};

/// By file where there are at least four (files taken in the order of a hash of their names while
/// that brings their total nearer to the share `val`, so that adding a file moves few); by span
/// (the last part of each file) where there are fewer; exactly split.val_files where given (an
/// unknown name is an error, and so is leaving nothing to train on). Independent of the run's seed.
Split split_dataset(const Dataset& dataset, const SplitConfig& config);

}  // namespace praxino
