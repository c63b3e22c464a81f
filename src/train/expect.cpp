#include "praxino/train/expect.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "praxino/base/file.h"

namespace praxino {
namespace {

constexpr uint64_t kMostLogBytes = uint64_t{16} << 30;  // as RunLog allows

std::string bound(const Expectation& want) {
  std::string text;
  if (std::isfinite(want.below)) text = fmt::format("below {}", want.below);
  if (std::isfinite(want.above))
    text += fmt::format("{}above {}", text.empty() ? "" : ", ", want.above);
  return text;
}

bool due(const Expectation& want, int64_t step) { return want.at == 0 || step <= want.at; }

/// The newest value of each expectation's metric up to its step; a null in the log is a NaN.
std::vector<std::optional<double>> newest_values(const std::vector<Expectation>& lines,
                                                 const std::string& log) {
  std::vector<std::optional<double>> newest(lines.size());
  std::istringstream text(log);
  for (std::string line; std::getline(text, line);) {
    const nlohmann::json record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!record.is_object() || !record.contains("step")) continue;
    for (size_t i = 0; i < lines.size(); ++i) {
      const auto found = record.find(lines[i].metric);
      if (found == record.end() || !due(lines[i], record["step"].get<int64_t>())) continue;
      newest[i] = found->is_number() ? found->get<double>() : std::nan("");
    }
  }
  return newest;
}

}  // namespace

std::vector<std::string> missed_expectations(const std::vector<Expectation>& lines,
                                             const std::filesystem::path& log) {
  std::vector<std::string> missed;
  if (lines.empty()) return missed;
  const std::vector<std::optional<double>> newest =
      newest_values(lines, read_file(log, kMostLogBytes));
  for (size_t i = 0; i < lines.size(); ++i) {
    const Expectation& want = lines[i];
    if (newest[i] && *newest[i]<want.below&& * newest[i]> want.above) continue;
    const std::string got = newest[i] ? fmt::format("{:.6g}", *newest[i]) : "never measured";
    const std::string at = want.at > 0 ? fmt::format("step {}", want.at) : "the end";
    missed.push_back(
        fmt::format("{:<32} at {:<10} expected {:<18} got {}", want.metric, at, bound(want), got));
  }
  return missed;
}

}  // namespace praxino
