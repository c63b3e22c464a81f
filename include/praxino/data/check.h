#pragma once
// Is this data set worth training on? `praxino data check`: damaged files, rows that do not match
// frames, frames that the recorder dropped or repeated, and actions that belong to other frames
// than declared.

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "praxino/data/dataset.h"

namespace praxino {

/// A place where presentation times jump: at least 1.5 times the file's median interval.
struct TimeGap {
  int64_t frame = 0;           // the last frame before the gap
  double seconds = 0;          // how long it is shown
  int64_t frames_missing = 0;  // how many frames would fill the gap
};

/// Pictures that do not change: frames first .. last look the same.
struct FrozenRun {
  int64_t first = 0;
  int64_t last = 0;
};

/// How well the actions explain the motion of the picture when they are paired `shift` rows off the
/// declared alignment: share of the variance that the picture's own past leaves, cross-validated
/// over time.
struct ShiftScore {
  int64_t shift = 0;
  double explained = 0;  // at most 1; negative: worse than no actions
};

/// Which pairing of actions and motion fits best.
struct ShiftEstimate {
  bool known = false;  // false: too short, no actions or no motion that they explain (`reason`)
  std::string reason;
  int64_t best = 0;       // the row k + best explains what row k should
  double confidence = 0;  // share of resamples of the recording (blocks of time) that choose `best`
  std::vector<ShiftScore> scores;  // every shift tried, in order
  /// The actions are surely paired with the wrong frames.
  bool wrong() const { return known && best != 0 && confidence >= 0.95; }
};

struct FileCheck {
  std::string name;
  std::string refused;  // why it cannot be used; empty: usable, and all below holds
  int64_t frames = 0;
  int64_t height = 0;
  int64_t width = 0;
  double seconds = 0;
  double fps = 0;               // 1 / median interval
  int64_t frames_examined = 0;  // whose pixels were looked at
  bool labelled = false;
  std::vector<TimeGap> gaps;
  std::vector<int64_t> bunched;  // frames shown for less than half the median interval
  std::vector<FrozenRun> frozen;
  ShiftEstimate shift;
  int64_t frames_missing() const;
  int64_t frames_frozen() const;
};

struct CheckReport {
  std::string folder;
  std::string failure;                // why the folder as a whole cannot be used; empty: it can
  std::string alignment;              // as declared
  std::vector<FileCheck> files;       // usable ones first, then the refused
  ShiftEstimate shift;                // of all labelled files together
  std::vector<std::string> problems;  // one sentence each; empty: nothing is wrong
  int64_t usable() const;
};

struct CheckOptions {
  int workers = 0;                 // threads, one file each; 0: one per core
  int64_t frames_per_file = 6000;  // whose pixels are looked at, in stretches spread over the file
};

/// Reads everything; never throws for what is wrong with the data: that is in the report.
CheckReport check_dataset(const std::filesystem::path& folder, const CheckOptions& options = {});

/// For people, with a remedy where there is one.
std::string to_text(const CheckReport& report);
/// For programs: one object, its keys named like the members above.
std::string to_json(const CheckReport& report);
/// 1 when nothing is usable, or with `strict` when anything is wrong; else 0.
int check_exit_code(const CheckReport& report, bool strict);

}  // namespace praxino
