#include "praxino/train/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <utility>

#include "plan_traffic.h"
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

struct RankMemory {
  PlannedStep step;  // of the same part in one process
  double parameters = 0;
  double in_blocks = 0;  // of them
  MemoryPeak peak;
  double buffers = 0;  // of communication
  double total() const { return static_cast<double>(peak.bytes.total()) + buffers; }
};

/// Tokens of a rank's micro-batch, before tensor and context divide them.
double tokens_of(const RunConfig& part) {
  const int64_t places =
      (part.data.size[0] / part.tokenizer.patch) * (part.data.size[1] / part.tokenizer.patch);
  return static_cast<double>(part.data.batch * part.data.clip_frames *
                             (places + part.model.registers));
}

double buffer_bytes(const RunConfig& part, const MeshShape& layout, double parameters, bool bf16) {
  const double gradient_bytes = part.parallel.gradients == "bf16" ? 2 : 4;
  const double token_bytes =
      tokens_of(part) * static_cast<double>(part.model.width * (bf16 ? 2 : 4));
  double bytes = 0;
  if (layout.data > 1 && !part.parallel.shard_weights) {
    bytes += 2 * static_cast<double>(part.parallel.bucket_mib << 20) +
             parameters * gradient_bytes / static_cast<double>(layout.data);
  }
  if (layout.tensor > 1) bytes += 2 * token_bytes / static_cast<double>(layout.context);
  if (layout.context > 1)
    bytes += 2 * token_bytes / static_cast<double>(layout.context * layout.tensor);
  return bytes;
}

RankMemory rank_memory(const RunConfig& config, const std::vector<ActionField>& fields,
                       const MeshShape& layout, const PlanDevice& device) {
  const RunConfig part = part_of_one_rank(config, layout);
  RankMemory memory;
  const bool sharded = config.parallel.shard_weights;
  memory.step = plan_step(part, fields,
                          {.device = device.gpu ? at::kCUDA : at::kCPU,
                           .bf16 = in_bf16(config, device),
                           .weight_ranks = sharded ? layout.data : 1});
  const auto t = static_cast<double>(layout.tensor);
  const auto d = sharded ? 1.0 : static_cast<double>(layout.data);  // the step has its share then
  const auto matrices = static_cast<double>(memory.step.matrices);
  const auto others = static_cast<double>(memory.step.others);
  memory.parameters = matrices / t + others;
  memory.in_blocks = static_cast<double>(memory.step.in_blocks) - matrices + matrices / t;
  const double held = memory.parameters / (matrices + others);
  const double a_matrix = config.optim.kind == "muon" ? 1 : 2;  // moments of an element
  MemoryShare share;
  share.of(MemoryKind::kWeights) = held;
  share.of(MemoryKind::kGradients) = held;
  share.of(MemoryKind::kMoments) =
      (a_matrix * matrices / t + 2 * others) / (a_matrix * matrices + 2 * others) / d;
  share.of(MemoryKind::kAverages) = held / d;
  share.of(MemoryKind::kActivations) = 1 / static_cast<double>(layout.tensor * layout.context);
  share.of(MemoryKind::kUpdate) = 1 / t;
  memory.peak = memory.step.log->peak(share);
  memory.buffers = buffer_bytes(part, layout, memory.parameters, in_bf16(config, device));
  return memory;
}

std::string note_of(MemoryKind kind, bool bf16, bool sharded) {
  switch (kind) {
    case MemoryKind::kWeights:
      return sharded ? "float32, a rank's share; room for two blocks and the gradients of one"
                     : "float32, the masters themselves; rotary tables";
    case MemoryKind::kMoments: return "of the optimizer, sharded over data";
    case MemoryKind::kAverages: return "optim.ema, sharded over data";
    case MemoryKind::kGradients: return "those that exist at the fullest moment";
    case MemoryKind::kBatch: return "uint8 frames";
    case MemoryKind::kActivations:
      return bf16 ? "kept for the backward pass, with the bfloat16 copies of the weights"
                  : "kept for the backward pass, temporaries included";
    case MemoryKind::kUpdate: return "temporaries of the optimizer";
  }
  return "";
}

bool fits(const RankMemory& memory, const PlanDevice& device) {
  return memory.total() <= kUsableShare * device.bytes;
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

std::vector<std::string> find_remedies(const RunConfig& config,
                                       const std::vector<ActionField>& fields,
                                       const MeshShape& layout, const PlanDevice& device) {
  std::vector<std::string> remedies;
  for (const Change& change : single_changes()) {
    RunConfig changed = config;
    MeshShape laid_out = layout;
    if (!change.apply(changed, laid_out)) continue;
    if (!fits(rank_memory(changed, fields, laid_out, device), device)) continue;
    remedies.push_back(fmt::format(
        fmt::runtime(change.text), fmt::arg("batch", changed.data.batch),
        fmt::arg("parts", changed.optim.gradient_accumulation), fmt::arg("tensor", laid_out.tensor),
        fmt::arg("context", laid_out.context), fmt::arg("data", laid_out.data)));
  }
  for (const PlanDevice& other : known_gpus()) {
    if (device.gpu && other.bytes > device.bytes &&
        fits(rank_memory(config, fields, layout, other), other)) {
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

void add_memory(Plan& plan, const RankMemory& memory) {
  for (size_t i = 0; i < kMemoryKinds; ++i) {
    const auto kind = static_cast<MemoryKind>(i);
    plan.memory.push_back({.name = std::string(name_of(kind)),
                           .bytes = static_cast<double>(memory.peak.bytes.of(kind)),
                           .note = note_of(kind, plan.bf16, plan.config.parallel.shard_weights)});
  }
  plan.memory.push_back({.name = "buckets",
                         .bytes = memory.buffers,
                         .note = "of communication: gradients under way, gathered pieces"});
  plan.peak_bytes = memory.total();
  plan.peak_phase = memory.peak.phase;
}

void add_work(Plan& plan, const RankMemory& memory, const MeshShape& layout) {
  const RunConfig& config = plan.config;
  const auto clips = static_cast<double>(config.data.batch * config.optim.gradient_accumulation);
  const RunConfig part = part_of_one_rank(config, layout);
  plan.parameters = memory.step.matrices + memory.step.others;
  plan.parameters_a_rank = std::llround(memory.parameters);
  plan.tokens_a_step = std::llround(tokens_of(part) * static_cast<double>(layout.data) *
                                    static_cast<double>(config.optim.gradient_accumulation));
  plan.forward_flops = memory.step.forward_flops * clips;
  plan.step_flops = 3 * plan.forward_flops;
  plan.repeated_flops = config.model.activation_checkpointing ? plan.forward_flops : 0;
  plan.flops_formula =
      "forward = 2 x rows x in x out of each matrix + 4 x (query, key) pairs x width of each "
      "block; "
      "only pairs that the mask allows count, each once; a step = 3 x forward";
  const RankStep rank{.data = layout.data,
                      .tensor = layout.tensor,
                      .context = layout.context,
                      .parameters = memory.parameters,
                      .in_blocks = memory.in_blocks,
                      .tokens = tokens_of(part),
                      .compute_bytes = plan.bf16 ? 2 : 4};
  plan.traffic = plan_traffic(config, rank);
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

  const RankMemory memory = rank_memory(config, fields, layout, options.device);
  add_memory(plan, memory);
  add_work(plan, memory, layout);
  const auto divided = static_cast<double>(layout.tensor * layout.context);
  plan.activations = static_cast<double>(memory.step.activations) / divided;
  RunConfig toggled = config;
  toggled.model.activation_checkpointing = !config.model.activation_checkpointing;
  toggled.parallel.shard_weights = false;  // it changes no activation
  plan.activations_toggled =
      static_cast<double>(rank_memory(toggled, fields, layout, options.device).step.activations) /
      divided;
  plan.rollout_cache = static_cast<double>(memory.step.rollout_cache);
  plan.whole_weights = config.parallel.shard_weights && layout.data > 1 ? 4 * memory.parameters : 0;
  const RunConfig part = part_of_one_rank(config, layout);
  plan.host_batches =
      static_cast<double>((part.data.ahead + 1) * part.data.batch * part.data.clip_frames * 3 *
                          part.data.size[0] * part.data.size[1]);
  plan.fits = fits(memory, options.device);
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
