#include "praxino/train/expect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/config/suggest.h"
#include "praxino/eval/evaluate.h"

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

bool is_evaluated(const std::string& metric) { return metric.starts_with("eval/"); }

}  // namespace

std::vector<std::string> step_metric_names() {
  return {"train/loss",
          "train/mse",
          "train/grad_norm",
          "train/lr",
          "train/steps_per_second",
          "train/frames_per_second",
          "train/loader_wait",
          "train/skipped_steps"};
}

void check_expectations(const RunConfig& config, bool held_out, bool with_actions) {
  std::vector<std::string> names = step_metric_names();
  if (held_out) {
    for (std::string& name : metric_names(config, with_actions)) names.push_back(std::move(name));
  }
  for (const Expectation& want : config.expect) {
    if (std::ranges::find(names, want.metric) == names.end()) {
      const std::string_view near = nearest_word(want.metric, {names.begin(), names.end()});
      const char* reason = is_evaluated(want.metric) && !held_out ? " (nothing is held out)" : "";
      fail_usage("expect: this run never measures '{}'{}{}", want.metric, reason,
                 near.empty() ? "; docs/formats.md lists what it does"
                              : fmt::format("; did you mean '{}'?", near));
    }
    const int64_t every = config.eval.every;
    const bool before_the_end = want.at > 0 && want.at < config.run.steps;
    const bool by_clock = config.run.max_minutes > 0;  // the end may come before that step
    if (is_evaluated(want.metric) && before_the_end && !by_clock &&
        (every == 0 || every > want.at)) {
      fail_usage(
          "expect: '{}' is judged at step {}, before the first evaluation; set eval.every to at "
          "most {}, or leave out 'at'",
          want.metric, want.at, want.at);
    }
  }
}

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
