#pragma once
// `expect:` turns a run into a convergence test.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "praxino/config/run.h"

namespace praxino {

/// The metrics of a step, in log.jsonl.
std::vector<std::string> step_metric_names();

/// Before training: throws praxino::Error (usage) for an expectation whose metric such a run never
/// writes, or not by its step, with the name that may have been meant. held_out: there are clips to
/// evaluate on; with_actions: two of them have known actions. For a run without checkpoints: one
/// that goes on may have measured already what it will not measure again.
void check_expectations(const RunConfig& config, bool held_out, bool with_actions);

/// Judges every expectation on a run's log.jsonl, so that resumes and repeated starts change
/// nothing: the newest value of its metric at or before step `at` (0: the end) must lie between its
/// bounds. Returns one text "metric, at, wanted, got" for each line that missed or whose metric was
/// never measured; empty when all hold. Throws praxino::Error for a log that cannot be read.
std::vector<std::string> missed_expectations(const std::vector<Expectation>& lines,
                                             const std::filesystem::path& log);

}  // namespace praxino
