#pragma once
// A file that FFmpeg writes into and that appears under its name by one rename, when it is
// complete.

#include <filesystem>

#include "video/ffmpeg.h"

namespace praxino {

/// Not thread-safe. Throws praxino::Error naming the path; when destroyed before commit() the bytes
/// are removed.
class FileOutput {
 public:
  explicit FileOutput(std::filesystem::path path);
  ~FileOutput();
  FileOutput(const FileOutput&) = delete;
  FileOutput& operator=(const FileOutput&) = delete;

  AVIOContext* io() { return io_.get(); }
  /// Flushes, syncs, renames. Throws if any write before has failed.
  void commit();

 private:
  static int write(void* opaque, ffmpeg::WrittenBytes bytes, int size);
  static int64_t seek(void* opaque, int64_t offset, int whence);

  std::filesystem::path path_;
  std::filesystem::path partial_;
  int fd_ = -1;
  int error_ = 0;  // errno of the first write that failed
  ffmpeg::UniqueIo io_;
};

}  // namespace praxino
