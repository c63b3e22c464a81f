#include "launch_cuda.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "kernel_registry.h"
#include "kernels/tiers.h"
#include "praxino/base/error.h"

namespace praxino::ops::cuda {
namespace {

using kernels::Tier;

// What the environment wants the chip to be taken for.
Tier tier_for(Tier chip, size_t device) {
  const char* wish = std::getenv("PRAXINO_TIER");
  if (wish == nullptr) return chip;
  const std::optional<Tier> tier = kernels::tier_named(wish);
  if (!tier) fail_usage("PRAXINO_TIER is '{}', not none, portable, tma, hopper or rubin", wish);
  if (!kernels::runs_on(*tier, chip)) {
    fail_usage("PRAXINO_TIER is '{}', which cuda:{} does not run: its tier is {}", wish, device,
               kernels::to_string(chip));
  }
  return *tier;
}

// Of each visible device, asked for once: properties cost a millisecond.
const std::vector<Tier>& best_tiers() {
  static const std::vector<Tier> tiers = [] {
    std::vector<Tier> found;
    int count = 0;
    if (!kernels::device_count(count).ok()) return found;
    for (int device = 0; device < count; ++device) {
      kernels::DeviceInfo info;
      const bool known = kernels::device_info(device, info).ok();
      const Tier chip = known ? kernels::best_tier(info.major, info.minor) : Tier::kNone;
      found.push_back(tier_for(chip, found.size()));
    }
    return found;
  }();
  return tiers;
}

}  // namespace

Tier tier_of(const at::Device& device) {
  const auto number = static_cast<size_t>(std::max<int>(device.index(), 0));
  return device.is_cuda() && number < best_tiers().size() ? best_tiers()[number] : Tier::kNone;
}

bool on_capable_gpu(const at::Tensor& tensor) {
  return tensor.is_cuda() && tensor.numel() != 0 &&
         kernels::runs_on(Tier::kPortable, tier_of(tensor.device()));
}

Launching::Launching(const at::Tensor& tensor)
    : guard_(tensor.device()), device_(tensor.device()) {}

kernels::Stream Launching::stream() const {
  const c10::Stream current = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
  return static_cast<kernels::Stream>(current.native_handle());
}

void Launching::check(kernels::Status status, const char* operation) {
  TORCH_CHECK(status.ok(), operation, ": ", kernels::status_text(status));
}

}  // namespace praxino::ops::cuda
