// The figures of `praxino bench ops` as a table for people and as JSON.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "praxino/bench/ops.h"

namespace praxino::bench {
namespace {

using Json = nlohmann::ordered_json;

/// Whether bytes, not arithmetic, bound the work on this machine.
bool by_bytes(const Work& work, const Ceilings& c) {
  return work.bytes / c.copy >= work.flop / c.product;
}

std::string milliseconds(const Times& times) {
  return fmt::format("{:.3f} ({:.3f}-{:.3f})", times.median * 1e3, times.low * 1e3,
                     times.high * 1e3);
}

std::string rate(const Work& work, const Times& times, const Ceilings& c) {
  const bool bytes = by_bytes(work, c);
  const double value = bytes ? work.bytes / times.median / 1e9 : work.flop / times.median / 1e12;
  return fmt::format("{:.{}f} {}", value, value < 100 ? 2 : 0, bytes ? "GB/s" : "TFLOP/s");
}

void add_row(std::string& out, const std::string& what, const SideResult& side,
             const std::string& pass, const Work& work, const Times& times, const Ceilings& c) {
  if (times.repetitions == 0) return;
  out +=
      fmt::format("{:<60} {:<18} {:<8} {:>24} {:>14} {:>5.0f} %\n", what,
                  side.by.empty() ? side.name : fmt::format("{}: {}", side.name, side.by), pass,
                  milliseconds(times), rate(work, times, c), 100 * share_of_floor(work, times, c));
}

Json json_of(const Times& times, const Work& work, const Ceilings& c) {
  if (times.repetitions == 0) return nullptr;
  return {{"median_s", times.median},
          {"q20_s", times.low},
          {"q80_s", times.high},
          {"repetitions", times.repetitions},
          {"bytes_per_s", work.bytes / times.median},
          {"flop_per_s", work.flop / times.median},
          {"share_of_floor", share_of_floor(work, times, c)}};
}

// JSON has no NaN.
Json number_or_null(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json json_of(const SideResult& side, const CaseResult& result, const Ceilings& c) {
  Json json = {{"name", side.name}};
  if (!side.by.empty()) json["by"] = side.by;
  if (!side.failed.empty()) {
    json["failed"] = side.failed;
    return json;
  }
  json["error"] = number_or_null(side.error);
  json["forward"] = json_of(side.forward, result.forward, c);
  if (side.replayed.repetitions > 0)
    json["forward_replayed"] = json_of(side.replayed, result.forward, c);
  json["backward"] = json_of(side.backward, result.backward, c);
  return json;
}

}  // namespace

double share_of_floor(const Work& work, const Times& times, const Ceilings& ceilings) {
  const double floor = std::max(work.bytes / ceilings.copy, work.flop / ceilings.product);
  return floor / times.median;
}

std::string ops_table(const OpsReport& report) {
  const Ceilings& c = report.ceilings;
  std::string out = fmt::format(
      "{}\n{}\ncopy {:.0f} GB/s (cold {:.0f}), matrix product {:.2f} TFLOP/s (cold {:.2f})\n\n"
      "{:<60} {:<18} {:<8} {:>24} {:>14} {:>7}\n",
      report.device, report.libraries, c.copy / 1e9, c.cold_copy / 1e9, c.product / 1e12,
      c.cold_product / 1e12, "case", "side", "pass", "ms: median (20-80 %)", "rate", "floor");
  for (const CaseResult& result : report.cases) {
    const std::string what = result.name + " " + result.shape;
    for (const SideResult& side : result.sides) {
      if (!side.failed.empty())
        out += fmt::format("{:<60} {:<18} {}\n", what, side.name, side.failed);
      add_row(out, what, side, "forward", result.forward, side.forward, c);
      add_row(out, what, side, "replayed", result.forward, side.replayed, c);
      add_row(out, what, side, "backward", result.backward, side.backward, c);
    }
  }
  for (const std::string& name : report.left_out)
    out += fmt::format("{:<60} left out: the time was up\n", name);
  return out;
}

std::string ops_json(const OpsReport& report) {
  const Ceilings& c = report.ceilings;
  Json json = {{"device", report.device},         {"libraries", report.libraries},
               {"copy_bytes_per_s", c.copy},      {"copy_bytes_per_s_cold", c.cold_copy},
               {"product_flop_per_s", c.product}, {"product_flop_per_s_cold", c.cold_product},
               {"cases", Json::array()},          {"left_out", report.left_out}};
  for (const CaseResult& result : report.cases) {
    Json sides = Json::array();
    for (const SideResult& side : result.sides) sides.push_back(json_of(side, result, c));
    json["cases"].push_back({{"name", result.name},
                             {"op", result.op},
                             {"shape", result.shape},
                             {"forward_bytes", result.forward.bytes},
                             {"forward_flop", result.forward.flop},
                             {"backward_bytes", result.backward.bytes},
                             {"backward_flop", result.backward.flop},
                             {"sides", std::move(sides)}});
  }
  return json.dump(2) + "\n";
}

}  // namespace praxino::bench
