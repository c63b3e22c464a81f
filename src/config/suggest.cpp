#include "praxino/config/suggest.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace praxino {
namespace {

constexpr size_t kLongestWord =
    64;  // nobody mistypes longer ones; bounds the time for hostile keys

std::vector<std::string_view> split(std::string_view word, char separator) {
  std::vector<std::string_view> parts;
  for (size_t start = 0; start <= word.size();) {
    const size_t end = std::min(word.find(separator, start), word.size());
    parts.push_back(word.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

bool abbreviates(std::string_view initials, std::string_view word) {
  std::string found;
  for (const std::string_view part : split(word, '_')) found += part.substr(0, 1);
  return found.size() > 1 && found == initials;
}

/// Whether all words of one (split at '_') occur in the other, in this order.
bool contains_words(const std::string_view more, std::string_view fewer) {
  const auto parts = split(fewer, '_');
  size_t matched = 0;
  for (const std::string_view part : split(more, '_')) {
    if (matched < parts.size() && part == parts[matched]) ++matched;
  }
  return matched == parts.size();
}

}  // namespace

int edit_distance(std::string_view a, std::string_view b) {
  // Rows i-2, i-1 and i of the table of distances between prefixes (optimal string alignment).
  std::vector<int> older(b.size() + 1), old(b.size() + 1), now(b.size() + 1);
  std::iota(old.begin(), old.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    now[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      now[j] = std::min({old[j] + 1, now[j - 1] + 1, old[j - 1] + (a[i - 1] != b[j - 1])});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) now[j] = std::min(now[j], older[j - 2] + 1);
    }
    std::swap(older, old);
    std::swap(old, now);
  }
  return old[b.size()];
}

std::string_view nearest_word(std::string_view unknown,
                              const std::vector<std::string_view>& words) {
  if (unknown.empty() || unknown.size() > kLongestWord) return {};
  std::string_view best;
  // "Near" is a third of the letters at most, so that "a" is not taken for every short key.
  int least =
      static_cast<int>(std::max<size_t>(unknown.size() / 3, unknown.size() > 1 ? 1 : 0)) + 1;
  for (const std::string_view word : words) {
    const int distance = edit_distance(unknown, word);
    if (distance < least) {
      least = distance;
      best = word;
    }
  }
  for (const std::string_view word : words) {
    if (best.empty() && (abbreviates(word, unknown) || abbreviates(unknown, word))) best = word;
  }
  for (const std::string_view word : words) {
    if (best.empty() && (contains_words(unknown, word) || contains_words(word, unknown)))
      best = word;
  }
  return best;
}

std::string key_suggestion(std::string_view section, std::string_view key,
                           const std::vector<std::string_view>& siblings,
                           const std::vector<std::string>& all) {
  const std::string prefix = section.empty() ? "" : std::string(section) + ".";
  if (const auto near = nearest_word(key, siblings); !near.empty()) {
    return fmt::format("; did you mean '{}{}'?", prefix, near);
  }
  if (section.empty() && std::find(all.begin(), all.end(), key) != all.end()) {
    const size_t dot = key.rfind('.');  // no key of a section has one
    return fmt::format("; write '{}' inside the section '{}'", key.substr(dot + 1),
                       key.substr(0, dot));
  }
  for (const std::string& other : all) {
    if (other.ends_with(key) &&
        (other.size() == key.size() || other[other.size() - key.size() - 1] == '.')) {
      return fmt::format("; did you mean '{}'?", other);
    }
  }
  return fmt::format("; valid here: {}", fmt::join(siblings, ", "));
}

}  // namespace praxino
