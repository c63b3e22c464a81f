#pragma once
// What a run wrote into its log.jsonl.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace praxino::testing {

/// Lines of log.jsonl; a torn one is passed over.
inline std::vector<nlohmann::json> read_log(const std::filesystem::path& run_directory) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(run_directory / "log.jsonl");
  for (std::string line; std::getline(file, line);) {
    const nlohmann::json parsed = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!parsed.is_discarded()) lines.push_back(parsed);
  }
  return lines;
}

inline std::map<int64_t, double> losses(const std::filesystem::path& run_directory) {
  std::map<int64_t, double> result;
  for (const nlohmann::json& line : read_log(run_directory)) {
    if (line.contains("train/loss")) result[line["step"]] = line["train/loss"];
  }
  return result;
}

/// The steps that have an evaluation, in order; one that has two comes twice.
inline std::vector<int64_t> evaluated_steps(const std::filesystem::path& run_directory) {
  std::vector<int64_t> steps;
  for (const nlohmann::json& line : read_log(run_directory)) {
    if (line.contains("eval/loss")) steps.push_back(line["step"]);
  }
  return steps;
}

}  // namespace praxino::testing
