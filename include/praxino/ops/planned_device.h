#pragma once
// Tensors without memory (at::kMeta) take the way through the operations that tensors of another
// device would: the same temporaries, the same tensors kept for the backward pass. `praxino plan`
// runs a training step on them and counts what it would have allocated.

#include <ATen/core/Tensor.h>

namespace praxino::ops {

/// While one lives, this thread's meta tensors stand for tensors of `device` (at::kCPU or
/// at::kCUDA). Without one they stand for the CPU's.
class PlannedDevice {
 public:
  explicit PlannedDevice(at::DeviceType device);
  ~PlannedDevice();
  PlannedDevice(const PlannedDevice&) = delete;
  PlannedDevice& operator=(const PlannedDevice&) = delete;

 private:
  at::DeviceType before_;
};

/// The kind of device whose code `x` goes through: its own, for a meta tensor the planned one.
at::DeviceType computing_device(const at::Tensor& x);

}  // namespace praxino::ops
