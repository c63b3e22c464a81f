#include "launch_cuda.h"

#include <ATen/core/grad_mode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>

#include <vector>

#include "kernels/tiers.h"

namespace praxino::ops::cuda {
namespace {

// Of each visible device, asked for once: properties cost a millisecond.
const std::vector<kernels::Tier>& best_tiers() {
  static const std::vector<kernels::Tier> tiers = [] {
    std::vector<kernels::Tier> found;
    int count = 0;
    if (!kernels::device_count(count).ok()) return found;
    for (int device = 0; device < count; ++device) {
      kernels::DeviceInfo info;
      const bool known = kernels::device_info(device, info).ok();
      found.push_back(known ? kernels::best_tier(info.major, info.minor) : kernels::Tier::kNone);
    }
    return found;
  }();
  return tiers;
}

}  // namespace

bool on_capable_gpu(const at::Tensor& tensor) {
  if (!tensor.is_cuda() || tensor.numel() == 0) return false;
  const auto device = static_cast<size_t>(tensor.device().index());
  return device < best_tiers().size() &&
         kernels::runs_on(kernels::Tier::kPortable, best_tiers()[device]);
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
