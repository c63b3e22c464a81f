#pragma once
// The two formats of action sidecars. Both functions check every value against its field and throw
// praxino::Error naming the file, the row and the column. Pure: thread-safe.

#include <filesystem>
#include <string>
#include <vector>

#include "praxino/config/actions.h"
#include "praxino/data/actions.h"

namespace praxino {

ActionTable read_actions_csv(const std::filesystem::path& file,
                             const std::vector<ActionField>& fields);
ActionTable read_actions_safetensors(const std::filesystem::path& file,
                                     const std::vector<ActionField>& fields);

/// Why `value` cannot be one of `field` ("must be 0 or 1"); empty when it can.
std::string value_problem(const ActionField& field, double value);

/// "forward, turn, fire".
std::string field_names(const std::vector<ActionField>& fields);

}  // namespace praxino
