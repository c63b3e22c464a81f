#include <fmt/format.h>

#include <charconv>

#include "praxino/base/error.h"
#include "praxino/parallel/launch.h"

namespace praxino {
namespace {

constexpr size_t kMostNodes = 1'000'000;

[[noreturn]] void unreadable(std::string_view list, std::string_view why) {
  fail_usage("the node list '{}' cannot be read: {}; set MASTER_ADDR to the first machine's name",
             list, why);
}

int64_t whole_number(std::string_view digits, std::string_view list) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool read = error == std::errc() && end == digits.data() + digits.size();
  if (!read || value < 0) unreadable(list, fmt::format("'{}' is not a number", digits));
  return value;
}

/// The parts of a text between commas that stand outside brackets.
std::vector<std::string_view> split(std::string_view text, std::string_view list) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  int depth = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '[') ++depth;
    if (i < text.size() && text[i] == ']') --depth;
    if (depth < 0 || depth > 1) unreadable(list, "its brackets do not match");
    if (i < text.size() && (text[i] != ',' || depth != 0)) continue;
    if (i == begin) unreadable(list, "a name is empty");
    parts.push_back(text.substr(begin, i - begin));
    begin = i + 1;
  }
  if (depth != 0) unreadable(list, "its brackets do not match");
  return parts;
}

/// What stands in brackets: "001-003,7" gives 001 002 003 7. The width of the first number is kept.
std::vector<std::string> expand_numbers(std::string_view text, std::string_view list) {
  std::vector<std::string> numbers;
  for (const std::string_view part : split(text, list)) {
    const size_t dash = part.find('-');
    const std::string_view low = part.substr(0, dash);
    const int64_t first = whole_number(low, list);
    const int64_t last =
        dash == std::string_view::npos ? first : whole_number(part.substr(dash + 1), list);
    if (last < first) unreadable(list, fmt::format("'{}' runs backwards", part));
    if (static_cast<uint64_t>(last - first) >= kMostNodes) unreadable(list, "it names too many");
    for (int64_t n = first; n <= last; ++n) {
      numbers.push_back(fmt::format("{:0{}d}", n, low.size()));
    }
  }
  return numbers;
}

/// One name with any number of brackets, each of which multiplies: "rack[1-2]node[1-4]".
std::vector<std::string> expand_name(std::string_view name, std::string_view list) {
  const size_t open = name.find('[');
  if (open == std::string_view::npos) return {std::string(name)};
  const size_t close = name.find(']', open);
  const std::vector<std::string> heads =
      expand_numbers(name.substr(open + 1, close - open - 1), list);
  const std::vector<std::string> tails = expand_name(name.substr(close + 1), list);
  if (heads.size() * tails.size() > kMostNodes) unreadable(list, "it names too many");
  std::vector<std::string> names;
  for (const std::string& head : heads) {
    for (const std::string& tail : tails) {
      names.push_back(std::string(name.substr(0, open)) + head + tail);
    }
  }
  return names;
}

}  // namespace

std::vector<std::string> expand_nodes(std::string_view list) {
  std::vector<std::string> nodes;
  for (const std::string_view name : split(list, list)) {
    for (std::string& node : expand_name(name, list)) nodes.push_back(std::move(node));
    if (nodes.size() > kMostNodes) unreadable(list, "it names too many");
  }
  return nodes;
}

int64_t tasks_on_node(std::string_view list, int64_t node) {
  for (std::string_view part : split(list, list)) {
    int64_t times = 1;
    if (const size_t open = part.find("(x"); open != std::string_view::npos) {
      if (!part.ends_with(')')) unreadable(list, "its brackets do not match");
      times = whole_number(part.substr(open + 2, part.size() - open - 3), list);
      part = part.substr(0, open);
    }
    const int64_t tasks = whole_number(part, list);
    if (node < times) return tasks;
    node -= times;
  }
  unreadable(list, "it has fewer nodes than the job");
}

}  // namespace praxino
