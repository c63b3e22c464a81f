#pragma once
// A file that a run tells its progress to. Progress is worth less than the run: when the disk is
// full one warning says so, what cannot be written is dropped, and training goes on.

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "praxino/base/file.h"

namespace praxino {

/// Appends whole records. Not thread-safe.
class LogFile {
 public:
  /// Creates the file or goes on at its end. Throws praxino::Error.
  explicit LogFile(std::filesystem::path path);

  /// All of `record`, or, when that fails, nothing of it: what was written is cut off again before
  /// the next record. False when it was dropped; the first time a warning says why.
  bool append(std::string_view record);
  /// fsync; false when that fails.
  bool sync();

  const std::filesystem::path& path() const { return path_; }

 private:
  bool give_up(std::string_view reason);

  std::filesystem::path path_;
  OutputFile file_;
  uint64_t size_ = 0;  // of all whole records
  bool torn_ = false;  // something may follow them
  bool warned_ = false;
};

}  // namespace praxino
