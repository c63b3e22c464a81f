#include "praxino/train/run_log.h"

#include <fmt/core.h>

#include <charconv>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "praxino/base/file.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kLargestLog = uint64_t{1} << 34;

/// The step of a whole line as RunLog writes it; nothing for anything else.
std::optional<int64_t> step_of(std::string_view line) {
  constexpr std::string_view kStart = "{\"step\":";
  if (!line.starts_with(kStart) || !nlohmann::json::accept(line)) return std::nullopt;
  int64_t step = 0;
  const char* end = line.data() + line.size();
  const auto parsed = std::from_chars(line.data() + kStart.size(), end, step);
  const bool whole = parsed.ec == std::errc() && (*parsed.ptr == ',' || *parsed.ptr == '}');
  return whole ? std::optional(step) : std::nullopt;
}

/// The lines that stay. A last line without its newline is torn, even when it reads well.
std::string lines_until(std::string_view text, int64_t last_step) {
  std::string kept;
  for (size_t end = text.find('\n'); end != text.npos; end = text.find('\n')) {
    const std::optional<int64_t> step = step_of(text.substr(0, end));
    if (step && *step <= last_step) kept += text.substr(0, end + 1);
    text.remove_prefix(end + 1);
  }
  return kept;
}

fs::path prepare(fs::path path, std::optional<int64_t> resumed) {
  if (!fs::exists(path)) return path;
  const std::string before = resumed ? read_file(path, kLargestLog) : std::string();
  const std::string after = resumed ? lines_until(before, *resumed) : std::string();
  if (!resumed || after != before) write_file_atomic(path, after);
  return path;
}

double now() {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count();
  return static_cast<double>(ms) / 1000;
}

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "null";
}

}  // namespace

RunLog::RunLog(fs::path path, std::optional<int64_t> resumed)
    : file_(prepare(std::move(path), resumed)) {}

void RunLog::write(int64_t step, const Metrics& metrics) {
  std::string line = fmt::format("{{\"step\":{},\"time\":{}", step, number(now()));
  for (const auto& [name, value] : metrics) {
    line += ',';
    line += nlohmann::json(name).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    line += ':';
    line += number(value);
  }
  line += "}\n";
  file_.append(line);
}

bool RunLog::holds(int64_t step, std::string_view metric) const {
  const std::string text = read_file(path(), kLargestLog);
  const std::string start = fmt::format("{{\"step\":{},", step);
  const std::string name = fmt::format("\"{}\":", metric);
  for (size_t at = text.find(start); at != text.npos; at = text.find(start, at + 1)) {
    if (std::string_view(text).substr(at, text.find('\n', at) - at).find(name) != text.npos)
      return true;
  }
  return false;
}

void RunLog::sync() { file_.sync(); }

}  // namespace praxino
