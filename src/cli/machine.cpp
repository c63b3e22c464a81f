#include "cli/machine.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

namespace praxino {
namespace {

/// The value of the first line "name<blanks>: value".
std::string_view value_of(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.starts_with(name)) continue;
    const size_t colon = line.find_first_not_of(" \t", name.size());
    if (colon == std::string_view::npos || line[colon] != ':') continue;
    const size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string_view::npos ? "" : line.substr(start);
  }
  return "";
}

bool has_word(std::string_view words, std::string_view word) {
  std::istringstream stream{std::string(words)};
  for (std::string next; stream >> next;) {
    if (next == word) return true;
  }
  return false;
}

uint64_t kibibytes(std::string_view text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value * 1024;
}

// /proc files report no size, so they are read as streams.
std::string read_proc(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

Processor parse_processor(std::string_view cpuinfo) {
  Processor processor;
  processor.name = value_of(cpuinfo, "model name");
  if (processor.name.empty()) processor.name = "unknown processor";
  const std::string_view x86 = value_of(cpuinfo, "flags");
  processor.avx2 = has_word(x86, "avx2");
  processor.avx512 = has_word(x86, "avx512f");
  processor.amx = has_word(x86, "amx_bf16");
  return processor;
}

Memory parse_memory(std::string_view meminfo) {
  return {kibibytes(value_of(meminfo, "MemTotal")), kibibytes(value_of(meminfo, "MemAvailable"))};
}

Processor this_processor() { return parse_processor(read_proc("/proc/cpuinfo")); }
Memory this_memory() { return parse_memory(read_proc("/proc/meminfo")); }

std::string format_bytes(uint64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30));
}

}  // namespace praxino
