#pragma once
// How many files and connections this process may have open (RLIMIT_NOFILE, `ulimit -n`).

#include <cstdint>

namespace praxino {

/// Raises the soft limit to `count` where it is lower, as far as the hard limit allows, and returns
/// what it is then. For this process and those that it starts. Thread-safe.
int64_t allow_open_files(int64_t count);

}  // namespace praxino
