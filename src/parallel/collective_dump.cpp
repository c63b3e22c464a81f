#include "parallel/collective_dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "praxino/base/error.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kKept = 8;

/// Seconds before `now`, or null for what has not happened.
Json ago(int64_t nanoseconds, int64_t now) {
  if (nanoseconds == 0) return nullptr;
  return static_cast<double>((now - nanoseconds) / 1000) / 1e6;
}

Json collective_json(const CollectiveRecord& record, int64_t now) {
  const auto shown = static_cast<size_t>(std::min<int64_t>(record.dims, CollectiveRecord::kSizes));
  Json json{{"number", record.number}, {"kind", record.kind}};
  if (record.peer >= 0) json["peer"] = record.peer;
  json["type"] = c10::toString(record.type);
  json["dims"] = record.dims;
  json["shape"] = std::vector<int64_t>(record.sizes.begin(), record.sizes.begin() + shown);
  json["entered_ago"] = ago(record.entered, now);
  json["waited_ago"] = ago(record.waited, now);
  json["ended_ago"] = ago(record.ended, now);
  return json;
}

Json groups_json(const std::vector<WatchedGroup>& groups) {
  const int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                          std::chrono::steady_clock::now().time_since_epoch())
                          .count();
  Json all = Json::array();
  for (const WatchedGroup& group : groups) {
    Json collectives = Json::array();
    for (const CollectiveRecord& record : group.log->last()) {
      collectives.push_back(collective_json(record, now));
    }
    all.push_back({{"name", group.name},
                   {"members", group.members},
                   {"collectives", std::move(collectives)}});
  }
  return all;
}

void delete_all_but_newest(const fs::path& folder, const std::string& prefix) {
  std::vector<fs::path> own;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with(prefix)) own.push_back(entry.path());
  }
  if (own.size() <= kKept) return;
  std::ranges::sort(own);
  own.resize(own.size() - kKept);
  std::error_code ignored;
  for (const fs::path& old : own) fs::remove(old, ignored);
}

}  // namespace

fs::path write_collective_dump(const CollectiveDump& dump, const RankState& own,
                               const std::vector<WatchedGroup>& groups,
                               const std::vector<RankState>& others) {
  if (!fs::exists(dump.folder.parent_path())) return {};
  Json told = Json::array();
  for (const RankState& state : others) told.push_back(Json::parse(to_json(state)));
  const Json json{{"format", "praxino-collectives"},
                  {"version", 1},
                  {"rank", own.rank},
                  {"ranks", dump.ranks},
                  {"step", own.step},
                  {"in_step", own.in_step},
                  {"seconds", own.seconds},
                  {"error", dump.error},
                  {"groups", groups_json(groups)},
                  {"others", std::move(told)}};
  fs::create_directories(dump.folder);
  const std::string prefix = fmt::format("rank-{:05d}-", own.rank);
  const fs::path path =
      dump.folder / fmt::format("{}step-{:08d}.json", prefix, std::max<int64_t>(own.step, 0));
  // Not synced: whoever waits for this rank's last words must not wait for a busy disk.
  const fs::path unfinished = dump.folder / fmt::format(".{}unfinished", prefix);
  std::ofstream file(unfinished);
  file << json.dump(1) << "\n";
  file.close();
  if (!file) fail("cannot write {}", unfinished.string());
  fs::rename(unfinished, path);
  delete_all_but_newest(dump.folder, prefix);
  return path;
}

}  // namespace praxino
