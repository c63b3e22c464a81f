#include "config/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string_view>

#include "praxino/base/hash.h"
#include "praxino/config/load.h"

namespace praxino {
namespace {

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

/// Words that YAML 1.1 or 1.2 readers do not take for text.
bool is_reserved(std::string word) {
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  constexpr std::string_view kReserved[] = {"null", "true", "false", "yes", "no",
                                            "on",   "off",  "y",     "n"};
  return std::find(std::begin(kReserved), std::end(kReserved), word) != std::end(kReserved);
}

bool is_plain_text(const std::string& text) {
  if (text.empty() || is_reserved(text)) return false;
  const auto harmless = [](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') ||
           std::string_view("_-./@+").find(c) != std::string_view::npos;
  };
  return (is_letter(text[0]) || text[0] == '_' || text[0] == '/') &&
         std::all_of(text.begin(), text.end(), harmless);
}

}  // namespace

std::string yaml_text(bool value) { return value ? "true" : "false"; }
std::string yaml_text(int64_t value) { return fmt::format("{}", value); }
std::string yaml_text(double value) { return fmt::format("{}", value); }

std::string yaml_text(const std::string& value) {
  if (is_plain_text(value)) return value;
  std::string quoted = "\"";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted.append("\\").append(1, c);
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += fmt::format("\\x{:02x}", byte);
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

std::string yaml_list(const std::vector<std::string>& items) {
  return fmt::format("[{}]", fmt::join(items, ", "));
}

std::string to_yaml(const RunConfig& config) { return print_document(config); }
std::string to_yaml(const DatasetConfig& config) { return print_document(config); }

std::string config_hash(const RunConfig& config) { return xxh3_128(to_yaml(config)).hex(); }

}  // namespace praxino
