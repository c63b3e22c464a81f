#pragma once
// Scalars on their way from the device to the log, without waiting for the device.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace praxino {

/// The named scalars of one step, once they have arrived.
struct ArrivedScalars {
  int64_t step = 0;
  std::vector<std::pair<std::string, double>> values;
  double value(std::string_view name) const;  // NaN when absent
};

/// Not thread-safe. On the CPU scalars arrive at once; on a GPU they are copied to pinned memory
/// behind an event.
class DeviceScalars {
 public:
  DeviceScalars();
  ~DeviceScalars();
  void push(int64_t step, std::vector<std::pair<std::string, at::Tensor>> scalars);
  /// The oldest step whose scalars have arrived; with `wait`, waits for it. Nothing when none is
  /// under way or ready.
  std::optional<ArrivedScalars> pop(bool wait);
  size_t pending() const { return pending_.size(); }  // steps

 private:
  struct Pending;
  std::deque<std::unique_ptr<Pending>> pending_;
};

}  // namespace praxino
