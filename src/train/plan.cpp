#include "praxino/train/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <utility>

#include "planned_step.h"
#include "praxino/base/error.h"
#include "praxino/data/clip.h"
#include "praxino/data/dataset.h"
#include "praxino/rollout/world.h"
#include "praxino/train/layout.h"
#include "sharded_model.h"

namespace praxino {
namespace {

MeshShape layout_of(const RunConfig& config, int64_t ranks) {
  const ParallelConfig& p = config.parallel;
  return mesh_shape(config, p.data > 0 ? p.data * p.tensor * p.context : ranks);
}

/// The configuration of one process that does a data rank's part alone.
RunConfig part_of_one_rank(const RunConfig& config, const MeshShape& layout) {
  RunConfig part = config;
  part.data.batch = config.data.batch / layout.data;
  return part;
}

bool in_bf16(const RunConfig& config, const PlanDevice& device) {
  if (device.gpu && config.run.precision == "auto") return true;
  return use_bf16(config.run.precision, at::Device(at::kCPU));
}

/// Tokens of a rank's micro-batch, before tensor and context divide them.
double tokens_of(const RunConfig& part) {
  const int64_t places =
      (part.data.size[0] / part.tokenizer.patch) * (part.data.size[1] / part.tokenizer.patch);
  return static_cast<double>(part.data.batch * part.data.clip_frames *
                             (places + part.model.registers));
}

PlannedStep rank_step(const RunConfig& config, const std::vector<ActionField>& fields,
                      const MeshShape& layout, const PlanDevice& device) {
  return plan_step(part_of_one_rank(config, layout), fields,
                   {.device = device.gpu ? at::kCUDA : at::kCPU,
                    .bf16 = in_bf16(config, device),
                    .mesh = layout});
}

std::string note_of(MemoryKind kind, bool bf16, bool sharded) {
  switch (kind) {
    case MemoryKind::kWeights:
      if (sharded) return "float32, a rank's share; room for two blocks and the gradients of one";
      return bf16 ? "float32, the masters themselves; bfloat16 copies of matrices; rotary tables"
                  : "float32, the masters themselves; rotary tables";
    case MemoryKind::kMoments: return "of the optimizer, of what the rank owns";
    case MemoryKind::kAverages: return "optim.ema, of what the rank owns";
    case MemoryKind::kGradients: return "those that exist at the fullest moment";
    case MemoryKind::kBatch: return "uint8 frames";
    case MemoryKind::kActivations:
      return bf16 && sharded
                 ? "kept for the backward pass, bfloat16 copies of the weights, what travels "
                   "between ranks"
                 : "kept for the backward pass, temporaries, what travels between ranks";
    case MemoryKind::kUpdate: return "temporaries of the optimizer";
  }
  return "";
}

bool fits(const PlannedStep& step, const PlanDevice& device) {
  return static_cast<double>(step.peak.bytes.total()) <= kUsableShare * device.bytes;
}

struct Change {
  std::string text;
  std::function<bool(RunConfig&, MeshShape&)> apply;  // false: not possible
};

std::vector<Change> single_changes() {
  return {{"model.activation_checkpointing=true (a third more work)",
           [](RunConfig& c, MeshShape&) {
             return !std::exchange(c.model.activation_checkpointing, true);
           }},
          {"data.batch={batch} optim.gradient_accumulation={parts} (the same batch in more parts)",
           [](RunConfig& c, MeshShape& layout) {
             if (c.data.batch % (2 * layout.data) != 0) return false;
             c.data.batch /= 2;
             c.optim.gradient_accumulation *= 2;
             return true;
           }},
          {"parallel.shard_weights=true (more traffic)",
           [](RunConfig& c, MeshShape& layout) {
             return layout.data > 1 && c.model.activation_checkpointing &&
                    !std::exchange(c.parallel.shard_weights, true);
           }},
          {"parallel.tensor={tensor} parallel.data={data} (the same number of ranks)",
           [](RunConfig& c, MeshShape& layout) {
             const int64_t kv = c.model.kv_heads > 0 ? c.model.kv_heads : c.model.heads;
             if (layout.data % 2 != 0 || kv % (2 * layout.tensor) != 0) return false;
             layout.tensor *= 2;
             layout.data /= 2;
             return true;
           }},
          {"parallel.context={context} parallel.data={data} (the same number of ranks)",
           [](RunConfig& c, MeshShape& layout) {
             if (layout.data % 2 != 0 || c.data.clip_frames < 2 * layout.context) return false;
             layout.context *= 2;
             layout.data /= 2;
             return true;
           }},
          {"twice the ranks along parallel.data, {data}", [](RunConfig& c, MeshShape& layout) {
             layout.data *= 2;
             return c.data.batch % layout.data == 0;
           }}};
}

/// Whether training would accept that layout.
bool can_be_shared(RunConfig config, const MeshShape& layout) {
  config.parallel.data = layout.data;
  config.parallel.context = layout.context;
  config.parallel.tensor = layout.tensor;
  try {
    mesh_shape(config, layout.ranks());
  } catch (const Error&) {
    return false;
  }
  return true;
}

std::vector<std::string> find_remedies(const RunConfig& config,
                                       const std::vector<ActionField>& fields,
                                       const MeshShape& layout, const PlanDevice& device) {
  std::vector<std::string> remedies;
  for (const Change& change : single_changes()) {
    RunConfig changed = config;
    MeshShape laid_out = layout;
    if (!change.apply(changed, laid_out) || !can_be_shared(changed, laid_out)) continue;
    if (!fits(rank_step(changed, fields, laid_out, device), device)) continue;
    remedies.push_back(fmt::format(
        fmt::runtime(change.text), fmt::arg("batch", changed.data.batch),
        fmt::arg("parts", changed.optim.gradient_accumulation), fmt::arg("tensor", laid_out.tensor),
        fmt::arg("context", laid_out.context), fmt::arg("data", laid_out.data)));
  }
  for (const PlanDevice& other : known_gpus()) {
    if (device.gpu && other.bytes > device.bytes &&
        fits(rank_step(config, fields, layout, other), other)) {
      remedies.push_back("--gpu " + other.name);
      break;
    }
  }
  return remedies;
}

std::optional<DataSummary> summarize(const RunConfig& config, std::vector<ActionField>& fields) {
  if (!std::filesystem::exists(config.data.path)) return std::nullopt;
  const Dataset dataset = Dataset::open(config.data.path);
  fields = dataset.config().actions;
  DataSummary data{.files = static_cast<int64_t>(dataset.files().size()),
                   .refused = static_cast<int64_t>(dataset.refused().size())};
  for (const SourceFile& file : dataset.files()) data.frames += file.index->frame_count();
  const Split split = split_dataset(dataset, config.data.split);
  const ClipSpace clips(dataset, split.train, config.data.clip_frames, dataset.fps(config.data));
  data.training_clips = clips.size();
  const auto seen = static_cast<double>(config.run.steps * config.data.batch *
                                        config.optim.gradient_accumulation);
  data.passes = data.training_clips > 0 ? seen / static_cast<double>(data.training_clips) : 0;
  return data;
}

void add_memory(Plan& plan, const PlannedStep& step) {
  for (size_t i = 0; i < kMemoryKinds; ++i) {
    const auto kind = static_cast<MemoryKind>(i);
    plan.memory.push_back({.name = std::string(name_of(kind)),
                           .bytes = static_cast<double>(step.peak.bytes.of(kind)),
                           .note = note_of(kind, plan.bf16, plan.config.parallel.shard_weights)});
  }
  plan.peak_bytes = static_cast<double>(step.peak.bytes.total());
  plan.peak_phase = step.peak.phase;
}

void add_work(Plan& plan, const PlannedStep& step, const MeshShape& layout) {
  const RunConfig& config = plan.config;
  const auto clips = static_cast<double>(config.data.batch * config.optim.gradient_accumulation);
  const RunConfig part = part_of_one_rank(config, layout);
  plan.parameters = step.parameters;
  plan.parameters_a_rank = step.parameters_a_rank;
  plan.tokens_a_step = std::llround(tokens_of(part) * static_cast<double>(layout.data) *
                                    static_cast<double>(config.optim.gradient_accumulation));
  plan.forward_flops = step.forward_flops * clips;
  plan.step_flops = 3 * plan.forward_flops;
  plan.repeated_flops = config.model.activation_checkpointing ? plan.forward_flops : 0;
  plan.flops_formula =
      "forward = 2 x rows x in x out of each matrix + 4 x (query, key) pairs x width of each "
      "block; "
      "only pairs that the mask allows count, each once; a step = 3 x forward";
  plan.traffic = step.traffic;
}

}  // namespace

Plan make_plan(const RunConfig& config, const PlanOptions& options) {
  check_sharding(config);
  const MeshShape layout = layout_of(config, options.ranks);
  Plan plan;
  plan.config = config;
  plan.device = options.device;
  plan.config.parallel.data = layout.data;
  plan.bf16 = in_bf16(config, options.device);
  std::vector<ActionField> fields;
  plan.data = summarize(config, fields);

  const PlannedStep step = rank_step(config, fields, layout, options.device);
  add_memory(plan, step);
  add_work(plan, step, layout);
  plan.activations = static_cast<double>(step.activations);
  RunConfig toggled = config;
  toggled.model.activation_checkpointing = !config.model.activation_checkpointing;
  toggled.parallel.shard_weights = false;  // it needs checkpointing
  plan.activations_toggled =
      static_cast<double>(rank_step(toggled, fields, layout, options.device).activations);
  plan.rollout_cache = static_cast<double>(step.rollout_cache);
  const RunConfig part = part_of_one_rank(config, layout);
  plan.host_batches =
      static_cast<double>((part.data.ahead + 1) * part.data.batch * part.data.clip_frames * 3 *
                          part.data.size[0] * part.data.size[1]);
  plan.fits = fits(step, options.device);
  if (!plan.fits) plan.remedies = find_remedies(config, fields, layout, options.device);
  return plan;
}

const std::vector<PlanDevice>& known_gpus() {
  // Memory and dense bfloat16 rate with float32 accumulation, by the vendor's data sheets.
  static const std::vector<PlanDevice> gpus = {
      {.name = "a100-40", .bytes = 40e9, .peak_bf16 = 312e12},
      {.name = "a100", .bytes = 80e9, .peak_bf16 = 312e12},
      {.name = "h100", .bytes = 80e9, .peak_bf16 = 989e12},
      {.name = "h200", .bytes = 141e9, .peak_bf16 = 989e12},
      {.name = "b200", .bytes = 180e9, .peak_bf16 = 2250e12}};
  return gpus;
}

PlanDevice find_gpu(std::string_view name) {
  const auto found = std::ranges::find(known_gpus(), name, &PlanDevice::name);
  if (found != known_gpus().end()) return *found;
  std::vector<std::string> names;
  for (const PlanDevice& gpu : known_gpus()) names.push_back(gpu.name);
  fail_usage("--gpu {}: known are {}", name, fmt::join(names, ", "));
}

}  // namespace praxino
