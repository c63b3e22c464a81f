#pragma once
// Work spread over a few threads.

#include <cstdint>
#include <functional>

namespace praxino {

/// Runs task(0) ... task(count-1) on up to `workers` threads (0: one per core) and waits. Each
/// index runs once, in no promised order. The first exception stops new tasks and is thrown again
/// here.
void parallel_for_each(int64_t count, int workers, const std::function<void(int64_t)>& task);

/// Usable cores of this process (affinity mask and cgroup quota respected); at least 1.
int usable_cores();

}  // namespace praxino
