#include "run_lock.h"

#include <unistd.h>

#include <string>
#include <system_error>

#include "praxino/base/error.h"

namespace praxino {
namespace {

const std::filesystem::path& created(const std::filesystem::path& directory) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) {
    fail("cannot create the run directory {}: {}; run.output names where runs are kept",
         directory.string(), failed.message());
  }
  return directory;
}

std::string holder(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? read_file(file) : "unknown";
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& directory)
    : lock_(created(directory), FileLock::Mode::kTry) {
  const std::filesystem::path file = directory / "lock";
  if (!lock_.held()) {
    fail("{} is being trained by process {}; wait for it, or give run.name a new name",
         directory.string(), holder(file));
  }
  write_file_atomic(file, std::to_string(getpid()));
}

}  // namespace praxino
