#include "video/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "praxino/base/error.h"
#include "praxino/base/file.h"

namespace praxino {
namespace {

constexpr int kIoBytes = 64 << 10;

// Beside the target, hidden, and without its extension: a folder scan takes it for no video.
std::filesystem::path partial_name(const std::filesystem::path& path) {
  static std::atomic<int> counter{0};
  return path.parent_path() /
         fmt::format(".{}.{}-{}.partial", path.filename().string(), ::getpid(), counter++);
}

}  // namespace

FileOutput::FileOutput(std::filesystem::path path)
    : path_(std::move(path)), partial_(partial_name(path_)) {
  fd_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("{}: cannot be written: {}", path_.string(), std::strerror(errno));
  auto* buffer = static_cast<uint8_t*>(av_malloc(kIoBytes));
  io_.reset(avio_alloc_context(buffer, kIoBytes, 1, this, nullptr, write, seek));
}

FileOutput::~FileOutput() {
  io_.reset();
  if (fd_ < 0) return;
  ::close(fd_);
  std::error_code ignored;
  std::filesystem::remove(partial_, ignored);
}

int FileOutput::write(void* opaque, ffmpeg::WrittenBytes bytes, int size) {
  auto& self = *static_cast<FileOutput*>(opaque);
  for (int done = 0; done < size;) {
    const ssize_t wrote = ::write(self.fd_, bytes + done, static_cast<size_t>(size - done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      self.error_ = wrote < 0 ? errno : ENOSPC;
      return AVERROR(self.error_);
    }
    done += static_cast<int>(wrote);
  }
  return size;
}

int64_t FileOutput::seek(void* opaque, int64_t offset, int whence) {
  if (whence & AVSEEK_SIZE) return AVERROR(ENOSYS);
  const off_t at = ::lseek(static_cast<FileOutput*>(opaque)->fd_, offset, whence & ~AVSEEK_FORCE);
  return at < 0 ? AVERROR(errno) : at;
}

void FileOutput::commit() {
  avio_flush(io_.get());
  if (error_ == 0 && ::fsync(fd_) != 0) error_ = errno;
  if (error_ != 0) fail("{}: cannot be written: {}", path_.string(), std::strerror(error_));
  if (::rename(partial_.c_str(), path_.c_str()) != 0)
    fail("{}: cannot be renamed into place: {}", path_.string(), std::strerror(errno));
  ::close(fd_);
  fd_ = -1;
  sync_directory(path_.parent_path().empty() ? "." : path_.parent_path());
}

}  // namespace praxino
