#include "praxino/rollout/script.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <string>

#include "praxino/base/error.h"

namespace praxino {
namespace {

constexpr int64_t kMaxFrames = 1'000'000;  // so that a typing error cannot ask for all memory

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\n") - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char mark) {
  std::vector<std::string_view> parts;
  for (size_t from = 0;;) {
    const size_t end = text.find(mark, from);
    parts.push_back(trimmed(text.substr(from, end - from)));
    if (end == std::string_view::npos) return parts;
    from = end + 1;
  }
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// One step of the script, and where it stands, for messages.
struct Step {
  std::string_view text;
  size_t number;
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> why, Args&&... args) const {
    fail_usage("action script, step {} '{}': {}", number, text,
               fmt::format(why, std::forward<Args>(args)...));
  }
};

size_t find_field(const Step& step, std::string_view name, const std::vector<ActionField>& fields) {
  std::vector<std::string_view> names;
  for (size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].name == name) return i;
    names.push_back(fields[i].name);
  }
  step.refuse("no action field is called '{}'; there are {} (and 'none')", name,
              fmt::join(names, ", "));
}

float field_value(const Step& step, const ActionField& field,
                  std::optional<std::string_view> text) {
  if (!text)
    return field.kind == "axis" || field.kind == "delta" ? static_cast<float>(field.high) : 1.0F;
  const std::optional<float> value = parse_number<float>(*text);
  if (!value || !std::isfinite(*value)) step.refuse("'{}' is not a number", *text);
  if (field.kind == "button" && *value != 0 && *value != 1) {
    step.refuse("the button '{}' is 0 or 1", field.name);
  }
  if (field.kind == "discrete" &&
      (*value < 0 || *value >= static_cast<float>(field.size) || *value != std::floor(*value))) {
    step.refuse("'{}' is a whole number from 0 to {}", field.name, field.size - 1);
  }
  return *value;
}

std::vector<float> parse_row(const Step& step, std::string_view text,
                             const std::vector<ActionField>& fields) {
  std::vector<float> row(fields.size());
  if (text == "none" || text == "-") return row;
  std::vector<bool> set(fields.size());
  for (const std::string_view part : split(text, '+')) {
    const size_t colon = part.find(':');
    const std::string_view name = trimmed(part.substr(0, colon));
    if (name.empty()) step.refuse("a field name is missing");
    const size_t i = find_field(step, name, fields);
    if (set[i]) step.refuse("'{}' is given twice", name);
    set[i] = true;
    std::optional<std::string_view> value;
    if (colon != std::string_view::npos) value = trimmed(part.substr(colon + 1));
    row[i] = field_value(step, fields[i], value);
  }
  return row;
}

}  // namespace

ActionSequence parse_action_script(std::string_view script,
                                   const std::vector<ActionField>& fields) {
  ActionSequence sequence;
  size_t number = 0;
  for (const std::string_view text : split(script, ',')) {
    const Step step{text, ++number};
    if (text.empty()) step.refuse("it is empty; write steps such as forward*12,none*4");
    const size_t star = text.find('*');
    int64_t count = 1;
    if (star != std::string_view::npos) {
      const std::string_view digits = trimmed(text.substr(star + 1));
      const std::optional<int64_t> parsed = parse_number<int64_t>(digits);
      if (!parsed || *parsed < 1 || *parsed > kMaxFrames - sequence.frames) {
        step.refuse("'{}' is not a number of frames (1 or more, {} in all)", digits, kMaxFrames);
      }
      count = *parsed;
    }
    const std::vector<float> row = parse_row(step, trimmed(text.substr(0, star)), fields);
    for (int64_t i = 0; i < count; ++i) {
      sequence.values.insert(sequence.values.end(), row.begin(), row.end());
    }
    sequence.frames += count;
  }
  return sequence;
}

}  // namespace praxino
