#include "run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "praxino/base/error.h"

namespace praxino {
namespace {

std::string holder(int fd) {
  char text[32] = {};
  const ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
  return got > 0 ? std::string(text, static_cast<size_t>(got)) : "unknown";
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& directory) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  const std::filesystem::path file = directory / "lock";
  fd_ = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) {
    fail("cannot write into the run directory {}: {}; run.output names where runs are kept",
         directory.string(), std::strerror(errno));
  }
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const std::string process = holder(fd_);
    close(fd_);
    fail("{} is being trained by process {}; wait for it, or give run.name a new name",
         directory.string(), process);
  }
  const std::string own = std::to_string(getpid());
  if (ftruncate(fd_, 0) != 0 || pwrite(fd_, own.data(), own.size(), 0) < 0) {
    close(fd_);
    fail("cannot write {}: {}", file.string(), std::strerror(errno));
  }
}

RunLock::~RunLock() {
  if (fd_ >= 0) close(fd_);
}

RunLock::RunLock(RunLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

RunLock& RunLock::operator=(RunLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

}  // namespace praxino
