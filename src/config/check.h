#pragma once
// What a single field's range cannot say. Internal to config.

#include <functional>
#include <string>
#include <string_view>

#include "praxino/config/actions.h"
#include "praxino/config/run.h"

namespace praxino {

/// Where the value of a dotted key was written, for the start of a message: "train.yaml line 12".
using PlaceOf = std::function<std::string(std::string_view key)>;

void check_run(const RunConfig& config, const PlaceOf& place_of);
void check_dataset(const DatasetConfig& config, const PlaceOf& place_of);

}  // namespace praxino
