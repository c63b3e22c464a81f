// Which kernels a run takes.
#include <fmt/ranges.h>

#include <algorithm>

#include "praxino/base/log.h"
#include "praxino/ops/kernels.h"
#include "praxino/rollout/world.h"

namespace praxino {
namespace {

using ops::KernelFamily;
using ops::KernelState;
using ops::KernelStatus;

constexpr double kSecondsOfChecks = 2;

bool takes_attention(const ModelConfig& model, std::string_view op) {
  const bool over_frames = op.starts_with("frame_causal");
  const bool in_turn = op.starts_with("space") || op.starts_with("time");
  return model.attention == "space_time" ? !over_frames : !in_turn;
}

bool takes_tokens(const TokenizerConfig& tokenizer, std::string_view op) {
  return tokenizer.kind == "patch" && (op == "patchify" || op == "unpatchify");
}

int64_t count(const std::vector<KernelStatus>& rows, KernelState state) {
  return std::ranges::count(rows, state, &KernelStatus::state);
}

}  // namespace

bool takes_kernel(const RunConfig& config, const at::Device& device, bool trains,
                  const KernelStatus& row) {
  switch (row.family) {
    case KernelFamily::kAttention:
      if (!takes_attention(config.model, row.op)) return false;
      break;
    case KernelFamily::kTokens: return takes_tokens(config.tokenizer, row.op);
    case KernelFamily::kLoss: return false;  // no objective has classes
    case KernelFamily::kOptimizer: return trains;
    case KernelFamily::kNorm:
    case KernelFamily::kMlp: break;
  }
  return (row.type == at::kBFloat16) == use_bf16(config.run.precision, device);
}

void start_kernels(const RunConfig& config, const at::Device& device, bool trains) {
  const KernelsConfig& k = config.kernels;
  const std::string* words[] = {&k.attention, &k.norm, &k.mlp, &k.tokens, &k.loss, &k.optimizer};
  static_assert(std::size(words) == ops::kKernelFamilies.size());
  std::vector<std::string_view> off;
  for (size_t i = 0; i < ops::kKernelFamilies.size(); ++i) {
    const bool use = *words[i] != "off";
    ops::use_kernels(ops::kKernelFamilies[i], use);
    if (!use) off.emplace_back(to_string(ops::kKernelFamilies[i]));
  }
  if (!device.is_cuda()) return;
  const auto rows = ops::check_kernels(
      device, [&](const KernelStatus& row) { return takes_kernel(config, device, trains, row); },
      kSecondsOfChecks);
  double seconds = 0;
  for (const KernelStatus& row : rows) seconds += row.seconds;
  log::info(
      "kernels on {}: {} agree with their formulas ({:.2f} s of checks), {} turned down{}{}",
      device.str(), count(rows, KernelState::kAgrees), seconds,
      count(rows, KernelState::kTurnedDown),
      count(rows, KernelState::kUnchecked) > 0 ? ", others are checked at their first use" : "",
      off.empty() ? "" : fmt::format("; off: {}", fmt::join(off, ", ")));
}

}  // namespace praxino
