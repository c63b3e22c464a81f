#include "praxino/base/open_files.h"

#include <sys/resource.h>

#include <algorithm>
#include <limits>
#include <mutex>

namespace praxino {

int64_t allow_open_files(int64_t count) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::numeric_limits<int64_t>::max();
  const auto wanted = std::min(static_cast<rlim_t>(count), limit.rlim_max);
  if (limit.rlim_cur < wanted) {
    rlimit raised = limit;
    raised.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  constexpr rlim_t kMost = std::numeric_limits<int64_t>::max();
  return static_cast<int64_t>(std::min(limit.rlim_cur, kMost));  // RLIM_INFINITY is more
}

}  // namespace praxino
