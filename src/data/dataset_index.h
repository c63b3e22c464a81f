#pragma once
// The frame indices of a data set folder, kept in `.praxino/index/<XXH3-128 of the name>.idx`
// (docs/formats.md, "index").

#include <atomic>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

#include "praxino/video/index.h"

namespace praxino {

/// Thread-safe, for different files at the same time.
class IndexStore {
 public:
  explicit IndexStore(const std::filesystem::path& folder);

  /// The kept index where it is current, or nothing. A file that was touched but has the same
  /// content keeps its index, which is refreshed. An unreadable index file counts as none.
  std::shared_ptr<const FrameIndex> find(const std::string& name,
                                         const std::filesystem::path& video);

  /// Builds the index and keeps it; where it cannot be written it lives in memory, which is said
  /// once. Throws VideoError.
  std::shared_ptr<const FrameIndex> build(const std::string& name,
                                          const std::filesystem::path& video);

 private:
  std::filesystem::path path_of(const std::string& name) const;
  void keep(const std::string& name, const FrameIndex& index);

  std::filesystem::path folder_;
  std::atomic<bool> writable_{true};
  std::once_flag told_;
};

}  // namespace praxino
