#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "praxino/eval/evaluate.h"

namespace praxino {
namespace {

using Metrics = std::map<std::string, double>;

/// "23.14 [22.50, 23.80]", or nothing where the metric was not measured.
std::string cell(const Metrics& metrics, const std::string& name, int digits) {
  const auto found = metrics.find(name);
  if (found == metrics.end()) return {};
  return fmt::format("{:.{}f} [{:.{}f}, {:.{}f}]", found->second, digits, metrics.at(name + "/low"),
                     digits, metrics.at(name + "/high"), digits);
}

std::set<int64_t> horizons_of(const Metrics& metrics) {
  const std::string prefix = "eval/psnr@";
  std::set<int64_t> horizons;
  for (const auto& [name, value] : metrics) {
    if (name.starts_with(prefix) && name.find('/', prefix.size()) == std::string::npos) {
      horizons.insert(std::stoll(name.substr(prefix.size())));
    }
  }
  return horizons;
}

struct Column {
  const char* title;
  const char* metric;
  int digits;
};
constexpr Column kColumns[] = {{"psnr", "psnr", 2},
                               {"copy", "psnr_copy", 2},
                               {"gain over copy", "psnr_gain_over_copy", 2},
                               {"ssim", "ssim", 4},
                               {"delta psnr", "delta_psnr", 2}};
constexpr Column kFigures[] = {{"loss", "loss", 5},
                               {"psnr of the tokenizer", "psnr_tokenizer", 2},
                               {"action shuffle ratio", "action_shuffle_ratio", 4},
                               {"no-action gap", "no_action_gap", 6}};

/// Lines of equal width columns; the first line is the head.
std::string aligned(const std::vector<std::vector<std::string>>& lines) {
  std::vector<size_t> widths(lines.front().size());
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  }
  std::string text;
  for (const auto& line : lines) {
    std::string row;
    for (size_t i = 0; i < line.size(); ++i) row += fmt::format("  {:<{}}", line[i], widths[i]);
    text += row.substr(0, row.find_last_not_of(' ') + 1) + '\n';
  }
  return text;
}

std::string horizon_table(const Metrics& metrics) {
  std::vector<std::vector<std::string>> lines{{"frames ahead"}};
  const std::set<int64_t> horizons = horizons_of(metrics);
  for (const int64_t h : horizons) lines.push_back({fmt::format("{}", h)});
  lines.push_back({"mean"});
  for (const Column& column : kColumns) {
    const std::string name = fmt::format("eval/{}", column.metric);
    if (!metrics.contains(name)) continue;
    lines.front().emplace_back(column.title);
    size_t line = 1;
    for (const int64_t h : horizons)
      lines[line++].push_back(cell(metrics, fmt::format("{}@{}", name, h), column.digits));
    lines[line].push_back(cell(metrics, name, column.digits));
  }
  return aligned(lines);
}

}  // namespace

std::string report_json(const EvalReport& report, int64_t step) {
  nlohmann::ordered_json json;
  json["step"] = step;
  json["metrics"] = report.metrics;
  json["settings"] = report.settings;
  return json.dump(2) + '\n';
}

std::string report_table(const EvalReport& report, int64_t step) {
  std::string text =
      fmt::format("evaluation at step {}, n = {:.0f}\n\n", step, report.metrics.at("eval/n"));
  text += horizon_table(report.metrics) + '\n';
  std::vector<std::vector<std::string>> figures;
  for (const Column& figure : kFigures) {
    const std::string name = fmt::format("eval/{}", figure.metric);
    if (report.metrics.contains(name))
      figures.push_back({figure.title, cell(report.metrics, name, figure.digits)});
  }
  text += aligned(figures) + '\n';
  for (const std::string& line : report.settings) text += fmt::format("  {}\n", line);
  return text;
}

}  // namespace praxino
