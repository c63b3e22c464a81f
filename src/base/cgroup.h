#pragma once
// What Linux's control groups leave to this process. Internal to base.

#include <filesystem>
#include <optional>
#include <string_view>

namespace praxino {

/// Cores of a cgroup v2 `cpu.max` ("150000 100000" -> 2, rounded up); nullopt: "max", no limit or
/// unreadable.
std::optional<int> quota_cores(std::string_view cpu_max);

/// The smallest quota of the cgroup named in `membership` (the text of /proc/self/cgroup) and its
/// parents below `root` (/sys/fs/cgroup), for cgroup v2 and, where there is no v2 file, for v1.
std::optional<int> cgroup_cores(const std::filesystem::path& root, std::string_view membership);

}  // namespace praxino
