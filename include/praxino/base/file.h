#pragma once
// Files, with every write checked. All functions throw praxino::Error naming the path and the
// reason. Thread-safe: no shared state.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace praxino {

/// The whole file; refused when it is larger than `limit` bytes or not a regular file.
std::string read_file(const std::filesystem::path& path, uint64_t limit = uint64_t{1} << 30);

/// Writes to a sibling temporary file, syncs it, renames it over `path`, syncs the folder: a reader
/// sees the old bytes or the new ones, and after return the new ones survive a power cut.
void write_file_atomic(const std::filesystem::path& path, std::string_view bytes);

/// Makes the folder and its parents where they are missing, and sees that this process may write
/// into it: for the start of a long work, so that its results find their place. Empty: the current
/// folder.
void make_writable_folder(const std::filesystem::path& path);

/// fsync of a directory, so that names created or renamed in it survive a power cut.
void sync_directory(const std::filesystem::path& path);

/// A new, empty folder for what is not complete yet, made with its parents; what stood there before
/// is removed. The destructor removes it, unless it was renamed to its place meanwhile.
class ScratchFolder {
 public:
  explicit ScratchFolder(std::filesystem::path path);
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Holds a file or folder for one owner at a time (flock: it ends with its process, however that
/// ends, and follows a rename). Where a file system knows no locks, or the path cannot be opened,
/// nothing is held, and held() is true all the same.
class FileLock {
 public:
  enum class Mode { kWait, kTry };
  FileLock(const std::filesystem::path& path, Mode mode);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  bool held() const { return held_; }

 private:
  int fd_ = -1;
  bool held_ = true;
};

/// An output file whose every operation is checked; close() syncs, and the destructor only closes
/// (without sync and in silence): call close() on the good path.
class OutputFile {
 public:
  enum class Mode { kTruncate, kAppend };
  explicit OutputFile(std::filesystem::path path, Mode mode = Mode::kTruncate);
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  OutputFile(const OutputFile&) = delete;
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void sync();   // fsync
  void close();  // fsync + close
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

/// A read-only file mapped into memory. Throws praxino::Error when the file cannot be opened or is
/// not regular.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  MappedFile(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace praxino
