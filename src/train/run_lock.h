#pragma once
// One training at a time in a run directory.

#include <filesystem>

namespace praxino {

/// Holds the file `lock` in the directory (created when needed) locked until destroyed or the
/// process ends, however it ends. Throws praxino::Error naming the process that holds it. The lock
/// follows the directory when it is renamed.
class RunLock {
 public:
  explicit RunLock(const std::filesystem::path& directory);
  ~RunLock();
  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&& other) noexcept;

 private:
  int fd_ = -1;
};

}  // namespace praxino
