#include "checkpoint/folder.h"

#include <fmt/ranges.h>

#include <charconv>
#include <iterator>
#include <sstream>
#include <system_error>
#include <vector>

#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/log.h"

namespace praxino {

namespace fs = std::filesystem;

std::string step_name(int64_t step) { return fmt::format("step-{:08d}", step); }

std::optional<int64_t> parse_step_name(const std::string& name) {
  constexpr std::string_view kPrefix = "step-";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (parsed.ec != std::errc() || parsed.ptr != end || step < 0) return std::nullopt;
  return step_name(step) == name ? std::optional(step) : std::nullopt;
}

std::string print_steps(const std::vector<int64_t>& steps) {
  return fmt::format("{}", fmt::join(steps, " "));
}

std::vector<int64_t> parse_steps(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<int64_t>(stream), {}};
}

void rename_directory(const fs::path& from, const fs::path& to) {
  std::error_code code;
  fs::rename(from, to, code);
  if (code) fail("cannot rename '{}' to '{}': {}", from.string(), to.string(), code.message());
}

void remove_checkpoint(const fs::path& directory) {
  const fs::path doomed = directory.parent_path() /
                          (std::string(kUnfinished) + "delete-" + directory.filename().string());
  std::error_code ignored;
  fs::remove_all(doomed, ignored);
  rename_directory(directory, doomed);
  std::error_code code;
  fs::remove_all(doomed, code);
  if (code) log::warning("cannot remove '{}': {}", doomed.string(), code.message());
}

void repair_folder(const fs::path& folder) {
  std::vector<fs::path> unfinished;
  std::vector<fs::path> aside;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kUnfinished)) unfinished.push_back(entry.path());
    if (name.starts_with(kSetAside)) aside.push_back(entry.path());
  }
  for (const fs::path& path : aside) {
    const fs::path place = folder / path.filename().string().substr(kSetAside.size());
    if (fs::exists(place)) {
      unfinished.push_back(path);  // it was replaced
    } else {
      rename_directory(path, place);
      log::warning("put back checkpoint '{}', whose replacement was interrupted", place.string());
    }
  }
  for (const fs::path& path : unfinished) {
    std::error_code code;
    fs::remove_all(path, code);
    if (code) log::warning("cannot remove '{}': {}", path.string(), code.message());
  }
  if (!aside.empty()) sync_directory(folder);
}

}  // namespace praxino
