#pragma once
// log.jsonl: what a run measured, for programs. One JSON object a line, "step" and "time" first:
//   {"step":12,"time":1767225600.125,"train/loss":0.25,"train/grad_norm":null}

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "praxino/train/log_file.h"

namespace praxino {

/// Names and values in the order in which they are printed.
using Metrics = std::vector<std::pair<std::string, double>>;

/// Not thread-safe. Never throws after construction: see LogFile.
class RunLog {
 public:
  /// Goes on after step `resumed`: lines of later steps, which the run will write again, and lines
  /// that a crash tore are dropped (atomically). Nothing given: starts empty. Throws
  /// praxino::Error.
  RunLog(std::filesystem::path path, std::optional<int64_t> resumed);

  /// One line, with one write. Numbers are the shortest text that reads back as the same double;
  /// NaN and infinities are null.
  void write(int64_t step, const Metrics& metrics);
  /// Whether a line of that step has the metric.
  bool holds(int64_t step, std::string_view metric) const;
  /// Before a checkpoint: a log that survives a power cut reaches as far as the checkpoint.
  void sync();

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  LogFile file_;
};

}  // namespace praxino
