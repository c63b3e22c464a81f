#pragma once
// The names inside `checkpoints/`, and who may change them.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace praxino {

inline constexpr std::string_view kUnfinished = ".tmp-";  // being written, or being deleted
inline constexpr std::string_view kSetAside = ".old-";    // whole, about to be replaced

/// "step-00000200".
std::string step_name(int64_t step);
/// The step of such a name; nothing for any other name.
std::optional<int64_t> parse_step_name(const std::string& name);

/// Steps as one text, and back.
std::string print_steps(const std::vector<int64_t>& steps);
std::vector<int64_t> parse_steps(const std::string& text);

/// rename(2). Throws praxino::Error naming both.
void rename_directory(const std::filesystem::path& from, const std::filesystem::path& to);

/// Renames a checkpoint out of the way, then removes it: half of one never bears its name.
void remove_checkpoint(const std::filesystem::path& directory);

/// Removes what is unfinished and puts back what was set aside and not replaced.
/// REQUIRES: the folder's lock is held.
void repair_folder(const std::filesystem::path& folder);

}  // namespace praxino
