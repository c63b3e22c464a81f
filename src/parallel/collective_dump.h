#pragma once
// The file that a rank leaves behind when a collective failed or nothing goes on: what it, and
// whoever answered, had done last. docs/formats.md describes it.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "parallel/rank_state.h"
#include "parallel/watchdog.h"

namespace praxino {

struct CollectiveDump {
  std::filesystem::path folder;  // made where the folder above it exists
  int64_t ranks = 1;
  std::string error;
};

/// Writes rank-00002-step-00000017.json and returns its path; nothing (an empty path) where the
/// folder above is missing: a run that never began leaves nothing behind. Of each rank the newest
/// ones are kept. Throws praxino::Error.
std::filesystem::path write_collective_dump(const CollectiveDump& dump, const RankState& own,
                                            const std::vector<WatchedGroup>& groups,
                                            const std::vector<RankState>& others);

}  // namespace praxino
