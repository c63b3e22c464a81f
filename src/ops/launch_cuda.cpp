#include "launch_cuda.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
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

std::optional<kernels::Element> element_of(at::ScalarType type) {
  if (type == at::kFloat) return kernels::Element::kFloat;
  if (type == at::kBFloat16) return kernels::Element::kBf16;
  return std::nullopt;
}

bool is_float(const at::Tensor& tensor, at::IntArrayRef sizes, const at::Tensor& on) {
  return tensor.scalar_type() == at::kFloat && tensor.sizes() == sizes &&
         tensor.device() == on.device();
}

void refuse_double_backward(const char* operation) {
  TORCH_CHECK(!at::GradMode::is_enabled(), operation,
              ": the gradient of a gradient is not there on a GPU; take ops::formula for it");
}

at::Tensor gradient_of(const at::Tensor& value, bool wanted) {
  return wanted ? at::empty_like(value) : at::Tensor();
}

kernels::FrameRows frame_rows(const at::Tensor& x) {
  return {.frames = x.size(0) * x.size(1), .tokens = x.size(2), .width = x.size(3)};
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
