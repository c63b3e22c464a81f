#pragma once
// One training at a time in a run directory.

#include <filesystem>

#include "praxino/base/file.h"

namespace praxino {

/// Holds the directory (created when needed) until destroyed or the process ends, however it ends,
/// and says so in its file `lock`. Throws praxino::Error naming the process that holds it. Follows
/// the directory when it is renamed.
class RunLock {
 public:
  explicit RunLock(const std::filesystem::path& directory);

 private:
  FileLock lock_;
};

}  // namespace praxino
