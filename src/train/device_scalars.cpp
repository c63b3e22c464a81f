#include "device_scalars.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cmath>

namespace praxino {

struct DeviceScalars::Pending {
  int64_t step = 0;
  std::vector<std::string> names;
  at::Tensor values;                // on the CPU
  std::optional<c10::Event> event;  // set for a GPU
};

double ArrivedScalars::value(std::string_view name) const {
  for (const auto& [own, number] : values) {
    if (own == name) return number;
  }
  return std::nan("");
}

DeviceScalars::DeviceScalars() = default;
DeviceScalars::~DeviceScalars() = default;

void DeviceScalars::push(int64_t step, std::vector<std::pair<std::string, at::Tensor>> scalars) {
  auto pending = std::make_unique<Pending>();
  pending->step = step;
  std::vector<at::Tensor> values;
  for (auto& [name, value] : scalars) {
    pending->names.push_back(name);
    values.push_back(value.detach().to(at::kFloat).reshape({}));
  }
  const at::Tensor joined = at::stack(values);
  if (joined.is_cpu()) {
    pending->values = joined;
  } else {
    pending->values =
        at::empty(joined.sizes(), at::TensorOptions().dtype(at::kFloat).pinned_memory(true));
    pending->values.copy_(joined, /*non_blocking=*/true);
    pending->event.emplace(joined.device().type());
    pending->event->record(
        c10::impl::VirtualGuardImpl(joined.device().type()).getStream(joined.device()));
  }
  pending_.push_back(std::move(pending));
}

std::optional<ArrivedScalars> DeviceScalars::pop(bool wait) {
  if (pending_.empty()) return std::nullopt;
  Pending& oldest = *pending_.front();
  if (oldest.event) {
    if (wait) oldest.event->synchronize();
    if (!oldest.event->query()) return std::nullopt;
  }
  ArrivedScalars arrived{.step = oldest.step, .values = {}};
  const float* values = oldest.values.const_data_ptr<float>();
  for (size_t i = 0; i < oldest.names.size(); ++i)
    arrived.values.emplace_back(oldest.names[i], values[i]);
  pending_.pop_front();
  return arrived;
}

}  // namespace praxino
