#include "praxino/base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "praxino/base/error.h"

namespace praxino {
namespace {

[[noreturn]] void fail_system(std::string_view verb, const std::filesystem::path& path, int code) {
  fail("cannot {} '{}': {}", verb, path.string(), std::generic_category().message(code));
}

int open_retrying(const std::filesystem::path& path, int flags) {
  int fd = -1;
  do {
    fd = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

/// A descriptor that is closed in silence, for reading.
class ReadOnly {
 public:
  explicit ReadOnly(const std::filesystem::path& path) {
    // O_NONBLOCK: opening a FIFO must not wait for a writer; regular files do not care.
    fd_ = open_retrying(path, O_RDONLY | O_NONBLOCK);
    if (fd_ < 0) fail_system("open", path, errno);
    struct stat status = {};
    if (::fstat(fd_, &status) != 0) {
      const int code = errno;
      ::close(fd_);
      fail_system("read", path, code);
    }
    if (!S_ISREG(status.st_mode)) {
      ::close(fd_);
      fail("cannot read '{}': it is {}", path.string(),
           S_ISDIR(status.st_mode) ? "a folder, not a file" : "not a regular file");
    }
    size_ = static_cast<uint64_t>(status.st_size);
  }
  ~ReadOnly() { ::close(fd_); }
  ReadOnly(const ReadOnly&) = delete;
  ReadOnly& operator=(const ReadOnly&) = delete;
  int fd() const { return fd_; }
  uint64_t size() const { return size_; }

 private:
  int fd_ = -1;
  uint64_t size_ = 0;
};

/// Some file systems cannot sync (EINVAL, ENOTSUP): that is not the caller's failure.
bool sync_failed(int fd) {
  int result = 0;
  do {
    result = ::fsync(fd);
  } while (result != 0 && errno == EINTR);
  return result != 0 && errno != EINVAL && errno != ENOTSUP;
}

std::filesystem::path sibling_temporary(const std::filesystem::path& path) {
  static std::atomic<uint64_t> counter = 0;
  std::filesystem::path temporary = path;
  temporary += fmt::format(".tmp-{}-{}", ::getpid(), counter++);
  return temporary;
}

}  // namespace

std::string read_file(const std::filesystem::path& path, uint64_t limit) {
  const ReadOnly file(path);
  const auto refuse_large = [&] {
    fail("cannot read '{}': it is larger than {} bytes, the most that is allowed here",
         path.string(), limit);
  };
  if (file.size() > limit) refuse_large();
  std::string bytes(static_cast<size_t>(file.size()), '\0');
  size_t filled = 0;
  while (true) {  // to the end of the file, not to its size: it may grow, and /proc says 0
    if (filled == bytes.size()) bytes.resize(filled + 4096);
    const ssize_t count = ::read(file.fd(), bytes.data() + filled, bytes.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_system("read", path, errno);
    if (count == 0) break;
    filled += static_cast<size_t>(count);
    if (filled > limit) refuse_large();
  }
  bytes.resize(filled);
  return bytes;
}

void write_file_atomic(const std::filesystem::path& path, std::string_view bytes) {
  const std::filesystem::path temporary = sibling_temporary(path);
  try {
    OutputFile file(temporary);
    file.write(bytes);
    file.close();
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail_system("write", path, errno);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_directory(path.has_parent_path() ? path.parent_path() : std::filesystem::path("."));
}

void make_writable_folder(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.empty() ? "." : path;
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) fail_system("make the folder", folder, failed.value());
  if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0)
    fail_system("write into", folder, errno);
}

void sync_directory(const std::filesystem::path& path) {
  const int fd = open_retrying(path, O_RDONLY | O_DIRECTORY);
  if (fd < 0) fail_system("open", path, errno);
  const bool failed = sync_failed(fd);
  const int code = errno;
  ::close(fd);
  if (failed) fail_system("sync", path, code);
}

ScratchFolder::ScratchFolder(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
  std::filesystem::create_directories(path_, error);
  if (error) fail_system("create", path_, error.value());
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

FileLock::FileLock(const std::filesystem::path& path, Mode mode) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) return;
  int result = 0;
  do {
    result = ::flock(fd_, LOCK_EX | (mode == Mode::kTry ? LOCK_NB : 0));
  } while (result != 0 && errno == EINTR);
  held_ = result == 0 || errno != EWOULDBLOCK;
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

OutputFile::OutputFile(std::filesystem::path path, Mode mode) : path_(std::move(path)) {
  fd_ = open_retrying(path_, O_WRONLY | O_CREAT | (mode == Mode::kAppend ? O_APPEND : O_TRUNC));
  if (fd_ < 0) fail_system("create", path_, errno);
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

void OutputFile::write(std::span<const std::byte> bytes) {
  // In pieces that the disk begins to take at once, so that sync() waits for the last ones only.
  constexpr size_t kPiece = size_t{8} << 20;
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), std::min(bytes.size(), kPiece));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_system("write", path_, errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
    if (static_cast<size_t>(count) == kPiece)  // a hint: where it cannot be taken, nothing is lost
      ::sync_file_range(fd_, 0, 0, SYNC_FILE_RANGE_WRITE);
  }
}

void OutputFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void OutputFile::sync() {
  if (sync_failed(fd_)) fail_system("sync", path_, errno);
}

void OutputFile::close() {
  sync();
  // Linux frees the descriptor even when close reports an error, so it is never closed again.
  if (::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) fail_system("close", path_, errno);
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const ReadOnly file(path);
  size_ = static_cast<size_t>(file.size());
  if (size_ == 0) return;  // mmap refuses empty mappings
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd(), 0);
  if (mapped == MAP_FAILED) fail_system("map", path, errno);
  data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

}  // namespace praxino
