#pragma once
// What is refused before yaml-cpp sees a byte. Internal to config.

#include <cstddef>
#include <string_view>

#include "config/node.h"

namespace praxino {

constexpr size_t kMostConfigBytes = size_t{1} << 20;

/// Refuses what yaml-cpp would mistake in silence or take long for: more than 1 MiB or 20000
/// brackets, control characters (and so UTF-16), bytes that are not UTF-8, tabs in the indentation.
/// Throws praxino::Error (kUsage) with the line.
void refuse_odd_text(const YamlSource& source, std::string_view text, Place place);

}  // namespace praxino
