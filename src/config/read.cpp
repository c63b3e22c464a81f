#include "config/read.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "praxino/base/error.h"
#include "praxino/config/suggest.h"

namespace praxino {
namespace {

template <class... Args>
[[noreturn]] void refuse(const ValueAt& at, fmt::format_string<Args...> text, Args&&... args) {
  throw Error(at.source.at(at.node.place) + ": " + fmt::format(text, std::forward<Args>(args)...),
              ErrorKind::kUsage);
}

[[noreturn]] void refuse_type(const ValueAt& at, std::string_view needed) {
  refuse(at, "{} needs {}, not {}", at.path, needed, describe(at.node));
}

bool is_plain(const Node& node) { return node.kind == Node::Kind::kScalar && !node.quoted; }

/// Reads all of `text` as a number; refuses other text and what the type cannot hold.
template <class T>
T parse_number(const ValueAt& at, std::string_view needed) {
  if (!is_plain(at.node)) refuse_type(at, needed);
  std::string_view text = at.node.text;
  const size_t first_digit = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  // from_chars would take "inf", "nan" and, after a '+' (which it does not know), a second sign.
  const bool numeric =
      first_digit < text.size() &&
      std::string_view("0123456789.").find(text[first_digit]) != std::string_view::npos;
  if (text.starts_with('+')) text.remove_prefix(1);
  T value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, value);
  if (!numeric || stop != end || code == std::errc::invalid_argument) refuse_type(at, needed);
  if (code == std::errc::result_out_of_range) {
    refuse(at, "{} is {}, which is too large or too small for a number", at.path,
           shown(at.node.text));
  }
  return value;
}

void check_range(const ValueAt& at, double value) {
  const auto [low, high] = std::pair(at.field.low, at.field.high);
  if (value >= low && value <= high) return;
  const std::string allowed = std::isinf(high)  ? fmt::format("at least {}", low)
                              : std::isinf(low) ? fmt::format("at most {}", high)
                                                : fmt::format("between {} and {}", low, high);
  refuse(at, "{} is {}, but must be {}", at.path, at.node.text, allowed);
}

void check_choices(const ValueAt& at, const std::string& value) {
  const std::vector<std::string_view> choices = at.field.choices;
  if (choices.empty() || std::find(choices.begin(), choices.end(), value) != choices.end()) return;
  refuse(at, "{} is {}, but must be {}{}", at.path, shown(value),
         choices.size() > 1 ? "one of " : "", fmt::join(choices, ", "));
}

}  // namespace

void read_value(const ValueAt& at, bool& value) {
  const bool known = is_plain(at.node) && (at.node.text == "true" || at.node.text == "false");
  if (!known) refuse_type(at, "true or false");
  value = at.node.text == "true";
}

void read_value(const ValueAt& at, int64_t& value) {
  value = parse_number<int64_t>(at, "a whole number");
  check_range(at, static_cast<double>(value));
}

void read_value(const ValueAt& at, double& value) {
  value = parse_number<double>(at, "a number");
  check_range(at, value);
}

void read_value(const ValueAt& at, std::string& value) {
  if (at.node.kind == Node::Kind::kNull) refuse(at, "{} needs text; write \"\" for none", at.path);
  if (at.node.kind != Node::Kind::kScalar) refuse_type(at, "text");
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (std::any_of(at.node.text.begin(), at.node.text.end(), is_control)) {
    refuse(at, "{} holds a control character: {}", at.path, shown(at.node.text));
  }
  value = at.node.text;
  check_choices(at, value);
}

const std::vector<Node>& list_items(const ValueAt& at, size_t length) {
  const auto& items = at.node.children;
  const bool empty = at.node.kind == Node::Kind::kNull && length == 0;
  if (at.node.kind != Node::Kind::kList && !empty) {
    refuse_type(at, length == 0 ? "a list" : fmt::format("a list of {}", length));
  }
  if (length != 0 && items.size() != length) {
    refuse(at, "{} needs a list of {}, not of {}", at.path, length, items.size());
  }
  return items;
}

ValueAt item_at(const ValueAt& list, size_t index) {
  return {list.source, list.node.children[index], fmt::format("{}[{}]", list.path, index),
          list.field};
}

SectionReader::SectionReader(const YamlSource& source, const Node& map, std::string path)
    : source_(source), map_(map), path_(std::move(path)) {
  // A section whose lines are all commented out is empty, not wrong.
  if (map.kind == Node::Kind::kMap || map.kind == Node::Kind::kNull) return;
  fail_usage("{}: {} needs lines of the form 'key: value', not {}", source.at(map.place),
             path_.empty() ? "the file" : path_, describe(map));
}

std::string SectionReader::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

void SectionReader::finish() const {
  for (const Node& child : map_.children) {
    if (std::find(known_.begin(), known_.end(), child.key) != known_.end()) continue;
    fail_usage("{}: unknown key {}{}", source_.at(child.place), shown(path_of(child.key)),
               key_suggestion(path_, child.key, known_, source_.keys));
  }
}

}  // namespace praxino
