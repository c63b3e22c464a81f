#include "plan_traffic.h"

namespace praxino {
namespace {

/// What a ring of `ranks` sends of a whole of `bytes`, a rank.
double ring(double bytes, int64_t ranks) {
  const auto n = static_cast<double>(ranks);
  return bytes * (n - 1) / n;
}

void add_data(const RunConfig& config, const RankStep& rank, std::vector<Traffic>& traffic) {
  constexpr double kWeightBytes = 4;
  const double gradient_bytes = config.parallel.gradients == "bf16" ? 2 : 4;
  double reduced = rank.parameters, gathered = rank.parameters;
  // A block's gradients leave after every micro-batch. Its weights come twice, but for the last
  // block, which stays between the passes, and the first, which stays between micro-batches.
  if (config.parallel.shard_weights) {
    const auto parts = static_cast<double>(config.optim.gradient_accumulation);
    const auto blocks = static_cast<double>(config.model.depth);
    const double outside = rank.parameters - rank.in_blocks;
    reduced = outside + rank.in_blocks * parts;
    gathered = outside + rank.in_blocks * (2 * parts * (blocks - 1) + 1) / blocks;
  }
  traffic.push_back({.axis = "data",
                     .kind = "reduce-scatter of gradients",
                     .bytes = ring(reduced * gradient_bytes, rank.data)});
  traffic.push_back({.axis = "data",
                     .kind = "all-gather of weights",
                     .bytes = ring(gathered * kWeightBytes, rank.data)});
}

// Sequence-parallel tensor parallelism (Korthikanti et al., arXiv 2205.05198): in each of both
// halves of a block an all-gather before and a reduce-scatter behind the matrices; backward the
// same, and once more the all-gather, for the gradients of the weights.
void add_tensor(const RunConfig& config, const RankStep& rank, std::vector<Traffic>& traffic) {
  const double passes = config.model.activation_checkpointing ? 2 : 1;
  const double once = ring(rank.tokens / static_cast<double>(rank.context) *
                               static_cast<double>(config.model.width * rank.compute_bytes),
                           rank.tensor) *
                      static_cast<double>(config.model.depth * config.optim.gradient_accumulation);
  traffic.push_back(
      {.axis = "tensor", .kind = "all-gather of tokens", .bytes = once * (2 * passes + 4)});
  traffic.push_back(
      {.axis = "tensor", .kind = "reduce-scatter of tokens", .bytes = once * (2 * passes + 2)});
}

// Dynamic sequence parallelism (arXiv 2403.10266): one switch of the layout before and one behind
// each time block. Ulysses (arXiv 2309.14509) where every block sees other frames: queries, keys,
// values and the result.
void add_context(const RunConfig& config, const RankStep& rank, std::vector<Traffic>& traffic) {
  const ModelConfig& model = config.model;
  const int64_t kv_heads = model.kv_heads > 0 ? model.kv_heads : model.heads;
  const bool ulysses = model.attention == "frame_causal";
  const int64_t kv_width = model.width / model.heads * kv_heads;
  const auto switched =
      static_cast<double>(ulysses ? 2 * model.width + 2 * kv_width : 2 * model.width);
  const auto blocks = static_cast<double>(ulysses ? model.depth : model.depth / model.time_every);
  const double passes = (model.activation_checkpointing ? 2 : 1) + 1;
  const double own = rank.tokens / static_cast<double>(rank.tensor * rank.context) * switched *
                     static_cast<double>(rank.compute_bytes);
  traffic.push_back({.axis = "context",
                     .kind = "all-to-all of tokens",
                     .bytes = ring(own, rank.context) * blocks * passes *
                              static_cast<double>(config.optim.gradient_accumulation)});
  const double gradient_bytes = config.parallel.gradients == "bf16" ? 2 : 4;
  traffic.push_back(
      {.axis = "context",
       .kind = "all-reduce of gradients",
       .bytes = 2 * ring(rank.parameters * gradient_bytes / static_cast<double>(rank.data),
                         rank.context)});
}

}  // namespace

std::vector<Traffic> plan_traffic(const RunConfig& config, const RankStep& rank) {
  std::vector<Traffic> traffic;
  if (rank.data > 1) add_data(config, rank, traffic);
  if (rank.tensor > 1) add_tensor(config, rank, traffic);
  if (rank.context > 1) add_context(config, rank, traffic);
  return traffic;
}

}  // namespace praxino
