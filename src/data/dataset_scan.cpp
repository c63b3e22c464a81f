#include "data/dataset_scan.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <system_error>

namespace praxino {
namespace {

namespace fs = std::filesystem;

// Also endings of containers that the allow-list refuses: such a file is told by name instead of
// passed over.
constexpr std::array<std::string_view, 18> kVideoEndings = {
    ".mp4", ".m4v", ".mov", ".mkv",  ".webm", ".avi", ".ts",  ".mts", ".m2ts",
    ".3gp", ".mpg", ".flv", ".mpeg", ".wmv",  ".ogv", ".mxf", ".vob", ".asf"};

bool is_video_name(const fs::path& path) {
  std::string ending = path.extension().string();
  for (char& c : ending) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return std::find(kVideoEndings.begin(), kVideoEndings.end(), ending) != kVideoEndings.end();
}

class Scanner {
 public:
  explicit Scanner(const fs::path& folder) : folder_(folder) {}

  FolderScan run() {
    list(folder_);
    std::sort(scan_.videos.begin(), scan_.videos.end(),
              [](const FoundVideo& a, const FoundVideo& b) { return a.name < b.name; });
    std::sort(scan_.refused.begin(), scan_.refused.end(),
              [](const RefusedFile& a, const RefusedFile& b) { return a.name < b.name; });
    return std::move(scan_);
  }

 private:
  void list(const fs::path& folder) {
    std::error_code error;
    fs::directory_iterator entries(folder, error);
    for (; !error && entries != fs::directory_iterator(); entries.increment(error)) visit(*entries);
    if (error) refuse(folder, "cannot be listed: " + error.message());
  }

  void visit(const fs::directory_entry& entry) {
    const fs::path& path = entry.path();
    if (path.filename().string().starts_with('.')) return;
    std::error_code error;
    if (entry.is_symlink(error)) {
      visit_link(path);
    } else if (entry.is_directory(error)) {
      list(path);
    } else if (is_video_name(path)) {
      add(path);
    }
  }

  void visit_link(const fs::path& path) {
    std::error_code error;
    if (fs::is_directory(path, error)) {
      refuse(path, "a link to a folder, which is not followed; copy or mount the folder instead");
    } else if (!is_video_name(path)) {
      return;
    } else if (!fs::exists(path, error)) {
      refuse(path, "a link that leads nowhere");
    } else if (!is_inside(folder_, path)) {
      refuse(path, "a link that leaves the data set folder");
    } else {
      add(path);
    }
  }

  void add(const fs::path& path) {
    std::error_code error;
    if (fs::is_regular_file(path, error)) {
      scan_.videos.push_back({name_of(path), path});
    } else {
      refuse(path, "not a regular file");
    }
  }

  void refuse(const fs::path& path, std::string why) {
    scan_.refused.push_back({name_of(path), path.string() + ": " + std::move(why)});
  }

  std::string name_of(const fs::path& path) const {
    return path.lexically_relative(folder_).generic_string();
  }

  const fs::path& folder_;
  FolderScan scan_;
};

}  // namespace

FolderScan scan_folder(const fs::path& folder) { return Scanner(folder).run(); }

bool is_inside(const fs::path& folder, const fs::path& path) {
  std::error_code error;
  const fs::path target = fs::canonical(path, error);
  if (error) return false;
  const auto [rest, unused] =
      std::mismatch(folder.begin(), folder.end(), target.begin(), target.end());
  return rest == folder.end();
}

}  // namespace praxino
