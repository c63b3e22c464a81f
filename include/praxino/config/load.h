#pragma once
// From YAML to configuration structs and back: strict, with file and line in every complaint.
// The only door to yaml-cpp is src/config/load.cpp. Thread-safe (no shared state).
//
// Refused before or while reading, each with file, line and remedy: more than 1 MiB, nesting deeper
// than 64, aliases, anchors, tags, duplicate keys, unknown keys (with the nearest valid key), wrong
// types, out-of-range values, values not among the choices.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "praxino/config/actions.h"
#include "praxino/config/run.h"

namespace praxino {

/// Reads a run file, applies overrides of the form "optim.lr=1e-4" in order (the value is YAML:
/// lists and maps work), and checks it as a whole (check_run). Throws praxino::Error with
/// ErrorKind::kUsage.
RunConfig load_run(const std::filesystem::path& path,
                   const std::vector<std::string>& overrides = {});

/// The same from text; `name` stands in for the file name in messages.
RunConfig parse_run(std::string_view text, std::string_view name,
                    const std::vector<std::string>& overrides = {});

/// config.yaml of a checkpoint, also of one that an earlier version wrote: keys that are gone are
/// passed over, and a key that did not exist yet gets the value that stands for how it was then.
RunConfig parse_stored_run(std::string_view text, std::string_view name);

/// What one field's range cannot say: patch divides size, heads divide width, context + horizon,
/// ...
void check_run(const RunConfig& config, std::string_view name);

/// dataset.yaml.
DatasetConfig load_dataset(const std::filesystem::path& path);
DatasetConfig parse_dataset(std::string_view text, std::string_view name);

/// The resolved configuration as YAML that parse_run reads back to an equal struct (shortest exact
/// numbers).
std::string to_yaml(const RunConfig& config);
std::string to_yaml(const DatasetConfig& config);

/// XXH3-128 of to_yaml(config), 32 hex digits.
std::string config_hash(const RunConfig& config);

/// Every key with default, range or choices, meaning and when to change it: `praxino config keys`.
std::string describe_keys();

/// "a.b.c" for every leaf key of a run file, in order: for completion and tests.
std::vector<std::string> all_keys();

}  // namespace praxino
