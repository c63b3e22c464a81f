#include "praxino/base/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cgroup.h"
#include "praxino/base/error.h"
#include "praxino/base/file.h"

namespace praxino {
namespace {

/// The text of a small file; empty when there is none.
std::string read_if_present(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return {};
  try {
    return read_file(path, 1 << 16);
  } catch (const Error&) {
    return {};
  }
}

int affinity_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

std::optional<int> quota_cores(std::string_view cpu_max) {
  double quota = 0;
  double period = 0;
  const char* end = cpu_max.data() + cpu_max.size();
  const auto first = std::from_chars(cpu_max.data(), end, quota);
  if (first.ec != std::errc() || first.ptr == end) return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, period);
  if (second.ec != std::errc() || quota <= 0 || period <= 0) return std::nullopt;
  return static_cast<int>(std::min((quota + period - 1) / period, 1e6));
}

std::optional<int> cgroup_cores(const std::filesystem::path& root, std::string_view membership) {
  std::optional<int> fewest;
  const auto consider = [&](std::optional<int> cores) {
    if (cores) fewest = std::min(fewest.value_or(*cores), *cores);
  };
  // The line of cgroup v2 is "0::/path".
  const size_t start = membership.find("0::/");
  if (start != std::string_view::npos) {
    const std::string_view line = membership.substr(start + 4);
    std::filesystem::path group = line.substr(0, line.find('\n'));
    for (; !group.empty(); group = group.parent_path()) {
      consider(quota_cores(read_if_present(root / group / "cpu.max")));
    }
  }
  consider(quota_cores(read_if_present(root / "cpu.max")));  // what a container sees as its own
  const std::string quota = read_if_present(root / "cpu/cpu.cfs_quota_us");
  const std::string period = read_if_present(root / "cpu/cpu.cfs_period_us");
  if (!quota.empty()) consider(quota_cores(quota.substr(0, quota.find('\n')) + " " + period));
  return fewest;
}

int usable_cores() {
  static const int cores = [] {
    const int available = std::max(1, affinity_cores());
    const auto quota = cgroup_cores("/sys/fs/cgroup", read_if_present("/proc/self/cgroup"));
    return std::clamp(quota.value_or(available), 1, available);
  }();
  return cores;
}

void parallel_for_each(int64_t count, int workers, const std::function<void(int64_t)>& task) {
  std::atomic<int64_t> next = 0;
  std::mutex mutex;
  std::exception_ptr first_error;
  const auto work = [&] {
    try {
      for (int64_t i = next++; i < count; i = next++) task(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!first_error) first_error = std::current_exception();
      next = count;
    }
  };
  const int64_t wanted = std::min<int64_t>(workers > 0 ? workers : usable_cores(), count);
  {
    std::vector<std::jthread> threads;
    try {
      for (int64_t i = 1; i < wanted; ++i) threads.emplace_back(work);
    } catch (const std::system_error&) {
      // The system has no more threads: the ones that exist do the work.
    }
    work();
  }
  if (first_error) std::rethrow_exception(first_error);
}

}  // namespace praxino
