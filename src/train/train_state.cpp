#include "train_state.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "praxino/base/error.h"
#include "praxino/config/load.h"

namespace praxino {
namespace {

constexpr const char* kOptimizerFile = "optimizer";
constexpr const char* kSteps = "steps";          // of the optimizer
constexpr const char* kUpdates = "ema.updates";  // of the averages
constexpr int kStateFormat = 1;

/// The slice of the parameter that a tensor of a checkpoint is, or is a moment of:
/// "exp_avg.<name>".
const std::optional<Slice>& slice_of(const Parameters& parameters, const std::string& tensor) {
  static const std::optional<Slice> kNone;
  const Parameter* parameter = parameters.find(tensor);
  if (parameter == nullptr) parameter = parameters.find(tensor.substr(tensor.find('.') + 1));
  return parameter == nullptr ? kNone : parameter->slice;
}

/// The tensor whose part this is, on rank `to` of the tensor group; undefined on the others.
using Whole = at::Tensor (*)(int64_t to, const at::Tensor& part, const Slice& slice,
                             const Communicator& group);

at::Tensor as_large_as_whole(int64_t to, const at::Tensor& part, const Slice& slice,
                             const Communicator& group) {
  if (group.rank() != to) return {};
  return part.new_empty({1}).expand(slice.whole_sizes(part.sizes()));
}

/// Whole tensors, each on one rank.
NamedTensors put_together(NamedTensors tensors, const TrainParts& parts, Whole whole) {
  if (parts.tensor.size() == 1) return tensors;
  NamedTensors kept;
  int64_t next = 0;
  for (auto& [name, tensor] : tensors) {
    const std::optional<Slice>& slice = slice_of(parts.own, name);
    if (slice) tensor = whole(next++ % parts.tensor.size(), tensor, *slice, parts.tensor);
    if (tensor.defined()) kept.emplace_back(std::move(name), std::move(tensor));
  }
  return kept;
}

/// The parts of a checkpoint's tensors that this rank holds.
NamedTensors parts_of(const NamedTensors& stored, const NamedTensors& target,
                      const Parameters& parameters) {
  std::map<std::string_view, const at::Tensor*> wanted;
  for (const auto& [name, tensor] : target) wanted.emplace(name, &tensor);
  NamedTensors own = stored;
  for (auto& [name, tensor] : own) {
    const std::optional<Slice>& slice = slice_of(parameters, name);
    const auto found = wanted.find(name);
    // A tensor of another shape is left as it is: the copy names it.
    if (!slice || found == wanted.end() ||
        slice->whole_sizes(found->second->sizes()) != tensor.sizes())
      continue;
    tensor = slice->part_of(tensor);
  }
  return own;
}

NamedTensors values_of(const Parameters& parameters) {
  NamedTensors tensors;
  for (const Parameter& p : parameters.all()) tensors.emplace_back(p.name, p.value.detach());
  return tensors;
}

// ema.safetensors is a model like any other; how often it was updated is the optimizer's business.
NamedTensors optimizer_tensors(const TrainParts& parts) {
  NamedTensors tensors = parts.optimizer.state();
  if (parts.ema.enabled()) tensors.emplace_back(kUpdates, parts.ema.updates());
  return tensors;
}

// A count that every rank keeps is no rank's share.
bool is_counter(const std::pair<std::string, at::Tensor>& tensor) {
  return tensor.first == kSteps || tensor.first == kUpdates;
}

void restore_all(const TrainState& state, const std::string& file, const NamedTensors& target,
                 const Parameters& parameters) {
  const auto found = state.files.find(file);
  if (found == state.files.end())
    fail("checkpoint of step {}: {}.safetensors is missing", state.step, file);
  const std::vector<std::string> missing =
      copy_tensors(parts_of(found->second, target, parameters), target);
  if (!missing.empty()) {
    fail(
        "checkpoint of step {}: {}.safetensors does not fit this run ({} of {} tensors, first {}); "
        "start over with "
        "--fresh, or fine-tune into a new run with --from",
        state.step, file, missing.size(), target.size(), missing.front());
  }
}

TrainState capture(const TrainParts& parts, const RunCounters& counters, bool first, Whole whole) {
  TrainState state;
  state.step = counters.step;
  state.files["model"] = put_together(values_of(parts.own), parts, whole);
  state.files[kOptimizerFile] = put_together(optimizer_tensors(parts), parts, whole);
  if (!first) std::erase_if(state.files[kOptimizerFile], is_counter);
  if (parts.ema.enabled()) state.files["ema"] = put_together(parts.ema.averages(), parts, whole);
  nlohmann::ordered_json json;
  json["format"] = kStateFormat;
  json["step"] = counters.step;
  json["seed"] = parts.world.config.run.seed;
  json["config_hash"] = config_hash(parts.world.config);
  json["data"] = {{"next_sample", counters.loader.next_sample},
                  {"failed_clips", counters.loader.failed_clips},
                  {"content_hash", fmt::format("{:016x}", counters.content_hash)}};
  json["elapsed_seconds"] = counters.elapsed_seconds;
  json["skipped_steps"] = counters.skipped_steps;
  json["skipped_in_a_row"] = counters.skipped_in_a_row;
  json["evaluated_step"] = counters.evaluated_step;
  state.state_json = json.dump(2) + "\n";
  state.texts["config.yaml"] = to_yaml(parts.world.config);
  state.texts["dataset.yaml"] = to_yaml(parts.world.dataset);
  return state;
}

}  // namespace

TrainState capture_state(const TrainParts& parts, const RunCounters& counters, bool first) {
  return capture(parts, counters, first, &whole_at);
}

TrainState state_like(const TrainParts& parts, const RunCounters& counters, bool first) {
  return capture(parts, counters, first, &as_large_as_whole);
}

WantedTensor wanted_by(const TrainParts& parts) {
  std::set<std::string> own;
  for (const auto& [name, tensor] : optimizer_tensors(parts)) own.insert(name);
  for (const Parameter& parameter : parts.own.all()) own.insert(parameter.name);
  return [own](const std::string&, const std::string& tensor) { return own.contains(tensor); };
}

RunCounters restore_state(const TrainState& state, const TrainParts& parts) {
  restore_all(state, "model", values_of(parts.own), parts.own);
  restore_all(state, kOptimizerFile, optimizer_tensors(parts), parts.own);
  if (parts.ema.enabled()) restore_all(state, "ema", parts.ema.averages(), parts.own);
  RunCounters counters;
  try {
    const nlohmann::json json = nlohmann::json::parse(state.state_json);
    counters.step = json.at("step");
    counters.elapsed_seconds = json.at("elapsed_seconds");
    counters.skipped_steps = json.at("skipped_steps");
    counters.skipped_in_a_row = json.at("skipped_in_a_row");
    counters.loader.next_sample = json.at("data").at("next_sample");
    counters.loader.failed_clips = json.at("data").at("failed_clips");
    counters.content_hash =
        std::stoull(json.at("data").at("content_hash").get<std::string>(), nullptr, 16);
    counters.evaluated_step = json.at("evaluated_step");
  } catch (const std::exception& error) {
    fail("checkpoint of step {}: state.json cannot be read: {}", state.step, error.what());
  }
  return counters;
}

}  // namespace praxino
