#include "kernel_registry.h"

#include <fmt/ranges.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>

#include "fused_cuda.h"
#include "praxino/base/log.h"
#if defined(PRAXINO_CUDA)
#include "launch_cuda.h"
#endif

namespace praxino::ops {
namespace {

using cuda::Kernel;
using kernels::Tier;

enum class Types { kFloat32, kBfloat16, kBoth };

struct Row {
  const char* name;
  const char* op;
  KernelFamily family;
  Tier tier;
  Types types;
  SelfCheck (*check)(at::TensorOptions);  // null in a build without CUDA

  bool has(at::ScalarType type) const {
    if (type == at::kFloat) return types != Types::kBfloat16;
    return type == at::kBFloat16 && types != Types::kFloat32;
  }
};

#if defined(PRAXINO_CUDA)
#define PRAXINO_CHECK(name) &cuda::check_of_##name
#else
#define PRAXINO_CHECK(name) nullptr
#endif
#define PRAXINO_ROW(name, op, family, tier, types) \
  Row{#name, #op, KernelFamily::family, Tier::tier, Types::types, PRAXINO_CHECK(name)},
constexpr Row kRows[] = {PRAXINO_KERNELS(PRAXINO_ROW)};
#undef PRAXINO_ROW
#undef PRAXINO_CHECK
constexpr size_t kCount = std::size(kRows);

constexpr at::ScalarType kTypes[] = {at::kFloat, at::kBFloat16};

std::atomic<bool>& switch_of(KernelFamily family) {
  static std::array<std::atomic<bool>, kKernelFamilies.size()> off{};  // all on
  return off[static_cast<size_t>(family)];
}

Trust& trust_of(size_t row) {
  static std::deque<Trust> trusts = [] {
    std::deque<Trust> made;
    for (const Row& kernel : kRows)
      made.emplace_back(kernel.name, to_string(kernel.family));  // a Trust cannot be moved
    return made;
  }();
  return trusts[row];
}

KernelStatus status_of(size_t number, at::ScalarType type,
                       const std::optional<at::Device>& device) {
  const Row& row = kRows[number];
  KernelStatus status{.name = row.name,
                      .op = row.op,
                      .family = row.family,
                      .tier = kernels::to_string(row.tier),
                      .type = type,
                      .reason = {}};
  const bool on_gpu = device && device->is_cuda();
  if (!cuda::kBuilt) {
    status.state = KernelState::kNotBuilt;
  } else if (!on_gpu) {
    status.state = KernelState::kNoDevice;
  } else if (!kernels::runs_on(row.tier, cuda::tier_of(*device))) {
    status.state = KernelState::kOtherChip;
  } else if (!uses_kernels(row.family)) {
    status.state = KernelState::kOff;
  } else if (const std::optional<Finding> found = trust_of(number).finding(*device, type)) {
    status.state = found->agrees() ? KernelState::kAgrees : KernelState::kTurnedDown;
    status.error = found->error;
    status.seconds = found->seconds;
    status.reason = found->difference;
  } else {
    status.state = KernelState::kUnchecked;
  }
  return status;
}

template <class Visit>
void for_each_kernel(Visit visit) {
  for (size_t row = 0; row < kCount; ++row) {
    for (const at::ScalarType type : kTypes) {
      if (kRows[row].has(type)) visit(row, type);
    }
  }
}

}  // namespace

const char* to_string(KernelFamily family) {
  switch (family) {
    case KernelFamily::kAttention: return "attention";
    case KernelFamily::kNorm: return "norm";
    case KernelFamily::kMlp: return "mlp";
    case KernelFamily::kTokens: return "tokens";
    case KernelFamily::kLoss: return "loss";
    case KernelFamily::kOptimizer: return "optimizer";
  }
  return "";
}

const char* to_string(KernelState state) {
  switch (state) {
    case KernelState::kNotBuilt: return "not built";
    case KernelState::kNoDevice: return "no device";
    case KernelState::kOtherChip: return "not for this chip";
    case KernelState::kOff: return "off";
    case KernelState::kUnchecked: return "not yet checked";
    case KernelState::kAgrees: return "agrees";
    case KernelState::kTurnedDown: return "turned down";
  }
  return "";
}

void use_kernels(KernelFamily family, bool use) { switch_of(family) = !use; }
bool uses_kernels(KernelFamily family) { return !switch_of(family); }

std::vector<KernelStatus> kernel_table(const std::optional<at::Device>& device) {
  std::vector<KernelStatus> table;
  for_each_kernel(
      [&](size_t row, at::ScalarType type) { table.push_back(status_of(row, type, device)); });
  return table;
}

std::vector<KernelStatus> check_kernels(const at::Device& device, const KernelChoice& wanted,
                                        double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  std::vector<KernelStatus> table;
  for_each_kernel([&](size_t row, at::ScalarType type) {
    KernelStatus status = status_of(row, type, device);
    if (wanted && !wanted(status)) return;
    const double passed = std::chrono::duration<double>(Clock::now() - begin).count();
    if (status.state == KernelState::kUnchecked && passed < seconds) {
      trust_of(row).holds(device, type, kRows[row].check);
      status = status_of(row, type, device);
    }
    table.push_back(std::move(status));
  });
  return table;
}

void cuda::tell_refusal(Kernel kernel, const at::Tensor& on, at::ScalarType type) {
  static std::array<std::atomic<bool>, kCount * std::size(kTypes)> told{};
  const auto number = static_cast<size_t>(kernel);
  const size_t place = number * std::size(kTypes) + (type == at::kFloat ? 0 : 1);
  if (told[place].exchange(true)) return;
  const Row& row = kRows[number];
  log::warning(
      "no kernel of {} takes these operands, the first of them {} of {} (strides {}) on {}: "
      "LibTorch's operations serve instead, which is slower; docs/kernels.md says what kernels "
      "take",
      row.op, c10::toString(type), fmt::join(on.sizes(), " x "), fmt::join(on.strides(), ", "),
      on.device().str());
}

#if defined(PRAXINO_CUDA)
bool cuda::usable(Kernel kernel, const at::Tensor& on, at::ScalarType type) {
  const auto number = static_cast<size_t>(kernel);
  const Row& row = kRows[number];
  return on.is_cuda() && on.numel() != 0 && row.has(type) && uses_kernels(row.family) &&
         kernels::runs_on(row.tier, tier_of(on.device())) &&
         trust_of(number).holds(on.device(), type, row.check);
}
#else
kernels::Tier cuda::tier_of(const at::Device&) { return Tier::kNone; }
#endif

}  // namespace praxino::ops
