#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "praxino/train/bench.h"

namespace praxino {
namespace {

std::string communication_text(const TrainBench& b) {
  std::string groups;
  for (const auto& [name, share] : b.exposed) {
    groups += fmt::format("{} {} {:.1f} %", groups.empty() ? ":" : ",", name, 100 * share);
  }
  std::string text = fmt::format(
      "exposed      {:.1f} % of the step waited for collectives{}; rank {} most, {:.1f} %\n"
      "             mean of the ranks; {}, slower ranks included\n",
      100 * b.exposed_share(), groups, b.exposed_rank, 100 * b.exposed_most,
      b.device.starts_with("cpu") ? "time in which the host waited"
                                  : "time in which the stream of the step waited");
  if (!b.comparison) return text;
  const TrainComparison& c = *b.comparison;
  text += fmt::format(
      "compared     in turns, {} steps each: together {:.2f} ms; one process alone with a data "
      "rank's clips {:.2f} ms:\n"
      "             weak scaling {:.1f} % (tokens/s and rank); every rank alone at the same time "
      "{:.2f} ms\n",
      c.steps, 1e3 * c.together, 1e3 * c.alone, 100 * b.weak_scaling(), 1e3 * c.apart);
  return text;
}

}  // namespace

double TrainBench::exposed_share() const {
  double all = 0;
  for (const auto& [group, share] : exposed) all += share;
  return all;
}

std::string to_text(const TrainBench& b) {
  std::string text = fmt::format("{}: {}{}, matrix products in {}\n", b.run,
                                 b.ranks() > 1 ? fmt::format("{} ranks, each on ", b.ranks()) : "",
                                 b.device, b.precision);
  if (b.ranks() > 1) {
    text += fmt::format("mesh         data {} x context {} x tensor {}\n", b.mesh.data,
                        b.mesh.context, b.mesh.tensor);
  }
  text += fmt::format("step         {:.2f} ms median, {:.2f} to {:.2f} (20 to 80 %) of {} steps\n",
                      1e3 * b.median, 1e3 * b.low, 1e3 * b.high, b.steps);
  text += fmt::format("throughput   {:.0f} tokens/s, {:.1f} frames/s\n", b.tokens_per_second(),
                      b.frames / b.median);
  text += fmt::format(
      "work         {:.3g} TFLOP a step, {:.4g} TFLOP/s, MFU {:.1f} %\n"
      "             3 x forward; forward = 2 x rows x in x out a matrix + 4 x seen (query, key) "
      "pairs x width a block\n"
      "             peak {:.4g} TFLOP/s: {} product of {} x {}, measured {}\n",
      b.flops / 1e12, b.flops_per_second() / 1e12, 100 * b.mfu(), b.peak_flops / 1e12, b.precision,
      b.product_size, b.product_size,
      b.ranks() > 1 ? "in these processes at once" : "in this process");
  text += fmt::format("loader       {:.1f} % of the time waited for\n", 100 * b.loader_wait);
  text += fmt::format("memory       {:.2f} GB at most\n", b.peak_bytes / 1e9);
  if (b.ranks() > 1) text += communication_text(b);
  text += fmt::format("start        {} (to the end of the first step)\n", b.start.text());
  return text;
}

std::string to_json(const TrainBench& b) {
  nlohmann::ordered_json json = {{"run", b.run},
                                 {"device", b.device},
                                 {"precision", b.precision},
                                 {"steps", b.steps},
                                 {"step_seconds", b.median},
                                 {"step_seconds_low", b.low},
                                 {"step_seconds_high", b.high},
                                 {"first_step_seconds", b.first_step()},
                                 {"loader_wait", b.loader_wait},
                                 {"tokens_per_second", b.tokens_per_second()},
                                 {"frames_per_second", b.frames / b.median},
                                 {"step_flops", b.flops},
                                 {"flops_per_second", b.flops_per_second()},
                                 {"peak_flops_per_second", b.peak_flops},
                                 {"product_size", b.product_size},
                                 {"mfu", b.mfu()},
                                 {"peak_bytes", b.peak_bytes}};
  for (const auto& [part, seconds] : b.start.parts()) json["start_seconds"][part] = seconds;
  json["mesh"] = {{"data", b.mesh.data}, {"context", b.mesh.context}, {"tensor", b.mesh.tensor}};
  json["exposed"] = b.exposed_share();
  json["exposed_by_group"] = nlohmann::ordered_json::object();
  for (const auto& [group, share] : b.exposed) json["exposed_by_group"][group] = share;
  json["exposed_most"] = b.exposed_most;
  if (b.comparison) {
    json["comparison"] = {{"steps", b.comparison->steps},
                          {"together_seconds", b.comparison->together},
                          {"alone_seconds", b.comparison->alone},
                          {"apart_seconds", b.comparison->apart},
                          {"weak_scaling", b.weak_scaling()}};
  }
  return json.dump(2) + "\n";
}

}  // namespace praxino
