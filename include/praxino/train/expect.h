#pragma once
// `expect:` turns a run into a convergence test.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "praxino/config/run.h"

namespace praxino {

/// Judges every expectation on a run's log.jsonl, so that resumes and repeated starts change
/// nothing: the newest value of its metric at or before step `at` (0: the end) must lie between its
/// bounds. Returns one text "metric, at, wanted, got" for each line that missed or whose metric was
/// never measured; empty when all hold. Throws praxino::Error for a log that cannot be read.
std::vector<std::string> missed_expectations(const std::vector<Expectation>& lines,
                                             const std::filesystem::path& log);

}  // namespace praxino
