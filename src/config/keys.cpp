#include "config/keys.h"

#include <fmt/format.h>

#include <cmath>

#include "praxino/config/load.h"

namespace praxino {
namespace {

std::string allowed_values(const Field& field) {
  if (field.choices.size() > 0) return fmt::format(", one of {}", fmt::join(field.choices, ", "));
  const bool has_low = std::isfinite(field.low);
  const bool has_high = std::isfinite(field.high);
  if (has_low && has_high) return fmt::format(", {} to {}", field.low, field.high);
  if (has_low) return fmt::format(", at least {}", field.low);
  if (has_high) return fmt::format(", at most {}", field.high);
  return "";
}

}  // namespace

std::string describe_section(const std::string& path, const Field& field) {
  return fmt::format("\n{}: {}\n", path, field.about);
}

std::string describe_key(const std::string& path, const Field& field, const std::string& type,
                         const std::string& default_text) {
  std::string text = fmt::format("  {}: {}{}; default {}\n      {}\n", path, type,
                                 allowed_values(field), default_text, field.about);
  if (!field.when.empty()) text += fmt::format("      change it: {}\n", field.when);
  return text;
}

std::string describe_keys() {
  return describe_document<RunConfig>().substr(1);
}  // no empty first line

std::vector<std::string> all_keys() { return list_keys<RunConfig>(); }

}  // namespace praxino
