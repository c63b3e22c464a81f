#pragma once
// What a run will take, before anybody pays for it: parameters, work, memory a rank, traffic, data.
// Everything of one process comes from running the training step itself without memory; what a
// mesh makes of it follows the formulas in docs/scaling.md.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "praxino/config/run.h"

namespace praxino {

/// What a rank runs on.
struct PlanDevice {
  std::string name;      // "h100"
  double bytes = 0;      // of memory
  double peak_bf16 = 0;  // dense FLOP a second by the data sheet; 0: not known
  bool gpu = true;
};

/// The GPUs that --gpu knows, with their data sheets' numbers (sources: docs/scaling.md).
const std::vector<PlanDevice>& known_gpus();
/// By name; throws praxino::Error (usage) naming those that there are.
PlanDevice find_gpu(std::string_view name);

struct PlanOptions {
  PlanDevice device;
  int64_t ranks = 1;  // where parallel.data is 0
};

struct NamedBytes {
  std::string name;
  double bytes = 0;
  std::string note;  // how it comes about
};

/// What one rank sends in a step.
struct Traffic {
  std::string axis;  // "data", "tensor", "context"
  std::string kind;  // "reduce-scatter of gradients"
  double bytes = 0;
};

struct DataSummary {
  int64_t files = 0;
  int64_t refused = 0;
  int64_t frames = 0;
  int64_t training_clips = 0;
  double passes = 0;  // over the training clips in the whole run
};

struct Plan {
  RunConfig config;  // as planned, with parallel.data filled in
  PlanDevice device;
  bool bf16 = false;

  int64_t parameters = 0;
  int64_t parameters_a_rank = 0;
  int64_t tokens_a_step = 0;  // of all ranks, registers included
  double forward_flops = 0;   // of a step, all ranks
  double step_flops = 0;      // forward and backward pass, without what checkpointing repeats
  double repeated_flops = 0;  // by activation checkpointing
  std::string flops_formula;

  std::vector<NamedBytes> memory;  // of a rank at its fullest moment
  double peak_bytes = 0;           // their sum
  std::string peak_phase;
  double activations = 0;          // most at one time with model.activation_checkpointing as it is
  double activations_toggled = 0;  // and as it is not
  double rollout_cache = 0;        // of an evaluation, not at the same time
  double host_batches = 0;         // decoded ahead, in host memory

  std::vector<Traffic> traffic;
  std::optional<DataSummary> data;  // nothing: there is no data set at data.path
  bool fits = false;
  std::vector<std::string> remedies;  // single changes each of which makes it fit
};

/// The share of a device's memory that a plan may fill; the rest is for the CUDA context, NCCL,
/// library workspaces and fragmentation. An assumption that no measurement stands behind.
inline constexpr double kUsableShare = 0.92;

/// Opens the data set where there is one (its index is built if need be), makes no model. Throws
/// praxino::Error (usage) where the mesh does not divide what it shall share.
Plan make_plan(const RunConfig& config, const PlanOptions& options);

/// A page for people.
std::string to_text(const Plan& plan);
/// The same for machines; bytes and FLOP as plain numbers.
std::string to_json(const Plan& plan);

}  // namespace praxino
