#pragma once
// What lies in a data set folder. Pure: thread-safe.

#include <filesystem>
#include <string>
#include <vector>

#include "praxino/data/dataset.h"

namespace praxino {

struct FoundVideo {
  std::string name;  // path below the folder, with '/'
  std::filesystem::path path;
};

struct FolderScan {
  std::vector<FoundVideo> videos;    // sorted by name
  std::vector<RefusedFile> refused;  // links that are not followed, folders that cannot be listed
};

/// Everything below `folder` (a canonical path) that has the name of a video file.
FolderScan scan_folder(const std::filesystem::path& folder);

/// True where `path`, its links resolved, lies below `folder` (a canonical path).
bool is_inside(const std::filesystem::path& folder, const std::filesystem::path& path);

}  // namespace praxino
