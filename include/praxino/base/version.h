#pragma once
// The version of praxino. Pure and thread-safe.

#include <string_view>

namespace praxino {

/// "0.1.0": the version that was built. The same sources always give the same text.
std::string_view version();

}  // namespace praxino
