#pragma once
// Which kernels exist, which of them a device takes, and what became of each: chosen by family,
// checked against its formula on the device, taken or turned down. docs/kernels.md has the table of
// families. Thread-safe.

#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace praxino::ops {

/// What a run file switches on and off together (`kernels: {attention: off}`).
enum class KernelFamily { kAttention, kNorm, kMlp, kTokens, kLoss, kOptimizer };
inline constexpr std::array kKernelFamilies = {KernelFamily::kAttention, KernelFamily::kNorm,
                                               KernelFamily::kMlp,       KernelFamily::kTokens,
                                               KernelFamily::kLoss,      KernelFamily::kOptimizer};
const char* to_string(KernelFamily family);

/// Takes the family's kernels from now on (the default), or its formulas; for the whole process.
/// Affects neither the CPU nor what has begun.
void use_kernels(KernelFamily family, bool use);
bool uses_kernels(KernelFamily family);

enum class KernelState {
  kNotBuilt,    // a build without CUDA
  kNoDevice,    // no GPU was named
  kOtherChip,   // its tier does not run on this GPU (or PRAXINO_TIER forbids it)
  kOff,         // its family is switched off
  kUnchecked,   // it will be checked at its first use
  kAgrees,      // with its formula, on this GPU
  kTurnedDown,  // it disagreed: the formula, or a kernel of a lower tier, serves instead
};
const char* to_string(KernelState state);

struct KernelStatus {
  std::string_view name;  // of the kernel
  std::string_view op;    // the function of praxino::ops that it serves
  KernelFamily family = KernelFamily::kNorm;
  std::string_view tier;             // kernels/tiers.h
  at::ScalarType type = at::kFloat;  // of its elements
  KernelState state = KernelState::kNotBuilt;
  double error = 0;    // kAgrees: the largest, relative to the largest value
  double seconds = 0;  // that the check took
  std::string reason;  // kTurnedDown: why
};

/// Every kernel and element type, best tier first for each op. Nothing is checked or launched;
/// nullopt or a device without kernels gives the table all the same.
std::vector<KernelStatus> kernel_table(const std::optional<at::Device>& device);

/// Which rows of the table to check.
using KernelChoice = std::function<bool(const KernelStatus& row)>;

/// Makes the checks that `wanted` asks for (empty: all) and that have not been made yet, and gives
/// the rows that it asks for. A kernel that disagrees is warned of and turned down. Begins no check
/// after `seconds`: those are left to the first use. On a device without kernels, no check.
std::vector<KernelStatus> check_kernels(const at::Device& device, const KernelChoice& wanted = {},
                                        double seconds = std::numeric_limits<double>::infinity());

}  // namespace praxino::ops
