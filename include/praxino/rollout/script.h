#pragma once
// Actions from outside: a script such as "forward*12,turn:8*6,forward+fire*4,none*10".

#include <cstdint>
#include <string_view>
#include <vector>

#include "praxino/config/actions.h"

namespace praxino {

/// T x A raw action values, row-major.
struct ActionSequence {
  int64_t frames = 0;
  std::vector<float> values;
};

/// Comma-separated steps; a step is fields joined by '+', each `name` (button: 1; axis, delta: its
/// `high`; discrete: 1) or `name:value`, then optionally `*frames`. "none" (or "-") is an all-zero
/// row. Spaces around the parts do not matter. Throws praxino::Error (usage) naming the step, its
/// position and the fields that exist.
ActionSequence parse_action_script(std::string_view script, const std::vector<ActionField>& fields);

}  // namespace praxino
