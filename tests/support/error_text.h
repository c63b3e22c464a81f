#pragma once
// What a person would read when something is refused.

#include <functional>
#include <string>

#include "praxino/base/error.h"

namespace praxino::testing {

/// The text of the praxino::Error that `action` throws; "(no error)" when it throws none.
inline std::string error_text(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

}  // namespace praxino::testing
