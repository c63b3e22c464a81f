#include "config/guards.h"

#include <algorithm>

#include "praxino/base/error.h"

namespace praxino {
namespace {

constexpr auto kMostBrackets = 20'000;

bool is_utf8(std::string_view line) {
  for (size_t i = 0; i < line.size();) {
    const auto byte = [&](size_t k) {
      return k < line.size() ? static_cast<unsigned char>(line[k]) : 0;
    };
    const unsigned first = byte(i);
    const size_t extra = first < 0x80                    ? 0
                         : first >= 0xc2 && first < 0xe0 ? 1
                         : first < 0xf0                  ? 2
                                                         : 3;
    if ((first >= 0x80 && first < 0xc2) || first > 0xf4) return false;
    for (size_t k = 1; k <= extra; ++k) {
      if ((byte(i + k) & 0xc0) != 0x80) return false;
    }
    const unsigned second = byte(i + 1);  // overlong forms, surrogates, beyond U+10FFFF
    const bool outside = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                         (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
    if (outside) return false;
    i += extra + 1;
  }
  return true;
}

}  // namespace

void refuse_odd_text(const YamlSource& source, std::string_view text, Place place) {
  if (text.size() > kMostConfigBytes) {
    fail_usage("{}: larger than 1 MiB, which is no configuration", source.at(place));
  }
  const auto opens =
      std::count_if(text.begin(), text.end(), [](char c) { return c == '[' || c == '{'; });
  if (opens >
      kMostBrackets) {  // yaml-cpp collects a whole line of them before it reports the first
    fail_usage("{}: more than {} opening brackets, which is no configuration", source.at(place),
               kMostBrackets);
  }
  int line_number = 0;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view line = text.substr(start, end - start);
    start = end + 1;
    ++line_number;
    const auto refuse = [&](std::string_view what) {
      const Place here = place.override_index >= 0 ? place : Place{.line = line_number};
      fail_usage("{}: {}", source.at(here), what);
    };
    const auto odd = [](unsigned char c) {
      return (c < 0x20 && c != '\t' && c != '\r') || c == 0x7f;
    };
    if (std::any_of(line.begin(), line.end(), odd))
      refuse("a control character (is it a text file in UTF-8?)");
    if (!is_utf8(line)) refuse("not UTF-8; save the file in UTF-8");
    const size_t content = std::min(line.find_first_not_of(" \t\r"), line.size());
    const bool blank = content == line.size() || line[content] == '#';
    if (!blank && line.substr(0, content).find('\t') != std::string_view::npos) {
      refuse("a tab in the indentation; use spaces");
    }
  }
}

}  // namespace praxino
