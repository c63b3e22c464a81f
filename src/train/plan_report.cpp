// The two faces of a Plan: text and JSON.

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

#include "praxino/train/plan.h"

namespace praxino {
namespace {

using Json = nlohmann::ordered_json;

std::string bytes_text(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B ", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (std::abs(bytes) >= 1000 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 2, kUnits[unit]);
}

std::string flops_text(double flops) {
  return flops >= 1e15 ? fmt::format("{:.2f} PFLOP", flops / 1e15)
                       : fmt::format("{:.3g} TFLOP", flops / 1e12);
}

std::string grouped(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto i = static_cast<int64_t>(digits.size()) - 3; i > 0; i -= 3)
    digits.insert(static_cast<size_t>(i), ",");
  return digits;
}

std::string mesh_text(const RunConfig& config) {
  const ParallelConfig& p = config.parallel;
  const int64_t ranks = p.data * p.tensor * p.context;
  return fmt::format("{} {}: data {} x tensor {} x context {}{}", ranks,
                     ranks == 1 ? "rank" : "ranks", p.data, p.tensor, p.context,
                     p.shard_weights ? ", weights sharded over data" : "");
}

std::string work_text(const Plan& plan) {
  const ParallelConfig& p = plan.config.parallel;
  const auto ranks = static_cast<double>(p.data * p.tensor * p.context);
  std::string text =
      fmt::format("parameters   {}{}\n", grouped(plan.parameters),
                  p.tensor > 1 ? fmt::format(", {} a rank", grouped(plan.parameters_a_rank)) : "");
  text += fmt::format("tokens       {} a step\n", grouped(plan.tokens_a_step));
  text += fmt::format("work         {} a step, {} a rank", flops_text(plan.step_flops),
                      flops_text(plan.step_flops / ranks));
  if (plan.repeated_flops > 0)
    text += fmt::format("; checkpointing repeats {} more", flops_text(plan.repeated_flops));
  text += "\n             ";
  for (const char letter : plan.flops_formula)
    text += letter == ';' ? std::string(";\n            ") : std::string(1, letter);
  text += '\n';
  if (plan.device.peak_bf16 > 0 && plan.bf16) {
    text += fmt::format(
        "             at least {:.3g} s at the data sheet's {:.0f} TFLOP/s a rank: a bound, no "
        "forecast\n",
        (plan.step_flops + plan.repeated_flops) / ranks / plan.device.peak_bf16,
        plan.device.peak_bf16 / 1e12);
  }
  return text;
}

std::string memory_text(const Plan& plan) {
  std::string text =
      fmt::format("memory       of a rank at its fullest moment ({}):\n", plan.peak_phase);
  for (const NamedBytes& line : plan.memory) {
    if (line.bytes > 0)
      text += fmt::format("  {:<12} {:>10}  {}\n", line.name, bytes_text(line.bytes), line.note);
  }
  text += fmt::format("  {:<12} {:>10}\n", "together", bytes_text(plan.peak_bytes));
  const bool on = plan.config.model.activation_checkpointing;
  text += fmt::format("  activations at most {} with checkpointing, {} without\n",
                      bytes_text(on ? plan.activations : plan.activations_toggled),
                      bytes_text(on ? plan.activations_toggled : plan.activations));
  text += fmt::format(
      "  beside a step: rollout cache of an evaluation {}; batches decoded ahead {} of host "
      "memory\n",
      bytes_text(plan.rollout_cache), bytes_text(plan.host_batches));
  return text;
}

std::string traffic_text(const Plan& plan) {
  if (plan.traffic.empty()) return "traffic      none\n";
  std::string text = "traffic      that one rank sends in a step:\n";
  for (const Traffic& line : plan.traffic)
    text += fmt::format("  {:<12} {:>10}  {}\n", line.axis, bytes_text(line.bytes), line.kind);
  return text;
}

std::string data_text(const Plan& plan) {
  if (!plan.data) {
    return fmt::format(
        "data         {}: no such folder; planned without actions, whose parameters would come on "
        "top\n",
        plan.config.data.path);
  }
  const DataSummary& data = *plan.data;
  return fmt::format(
      "data         {} files, {} frames, {} training clips of {} frames; the run takes {} samples, "
      "{:.3g} passes{}\n",
      grouped(data.files), grouped(data.frames), grouped(data.training_clips),
      plan.config.data.clip_frames,
      grouped(plan.config.run.steps * plan.config.data.batch *
              plan.config.optim.gradient_accumulation),
      data.passes, data.refused > 0 ? fmt::format("; {} files refused", data.refused) : "");
}

std::string verdict_text(const Plan& plan) {
  const double usable = kUsableShare * plan.device.bytes;
  std::string text = fmt::format("{}: {} of {} ({:.0f} % of {})\n",
                                 plan.fits ? "fits" : "does not fit", bytes_text(plan.peak_bytes),
                                 bytes_text(usable), 100 * kUsableShare, plan.device.name);
  if (plan.fits) return text;
  if (plan.remedies.empty()) return text + "no single change that praxino knows makes it fit\n";
  text += "any one of these makes it fit:\n";
  for (const std::string& remedy : plan.remedies) text += fmt::format("  {}\n", remedy);
  return text;
}

}  // namespace

std::string to_text(const Plan& plan) {
  return fmt::format("{} on {}, {}\n", plan.config.run.name, plan.device.name,
                     mesh_text(plan.config)) +
         work_text(plan) + memory_text(plan) + traffic_text(plan) + data_text(plan) +
         verdict_text(plan);
}

std::string to_json(const Plan& plan) {
  const ParallelConfig& p = plan.config.parallel;
  Json json = {{"run", plan.config.run.name},
               {"device", plan.device.name},
               {"mesh", {{"data", p.data}, {"tensor", p.tensor}, {"context", p.context}}},
               {"shard_weights", p.shard_weights},
               {"bf16", plan.bf16},
               {"parameters", plan.parameters},
               {"parameters_a_rank", plan.parameters_a_rank},
               {"tokens_a_step", plan.tokens_a_step},
               {"forward_flops", plan.forward_flops},
               {"step_flops", plan.step_flops},
               {"repeated_flops", plan.repeated_flops},
               {"flops_formula", plan.flops_formula},
               {"peak_phase", plan.peak_phase},
               {"peak_bytes", plan.peak_bytes},
               {"activations_bytes", plan.activations},
               {"activations_bytes_toggled", plan.activations_toggled},
               {"rollout_cache_bytes", plan.rollout_cache},
               {"host_batches_bytes", plan.host_batches},
               {"usable_bytes", kUsableShare * plan.device.bytes},
               {"fits", plan.fits},
               {"remedies", plan.remedies}};
  for (const NamedBytes& line : plan.memory) json["memory"][line.name] = line.bytes;
  json["traffic"] = Json::array();
  for (const Traffic& line : plan.traffic)
    json["traffic"].push_back({{"axis", line.axis}, {"kind", line.kind}, {"bytes", line.bytes}});
  if (plan.data) {
    json["data"] = {{"files", plan.data->files},
                    {"refused", plan.data->refused},
                    {"frames", plan.data->frames},
                    {"training_clips", plan.data->training_clips},
                    {"passes", plan.data->passes}};
  }
  return json.dump(2) + "\n";
}

}  // namespace praxino
