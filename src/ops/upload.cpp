#include "praxino/ops/upload.h"

namespace praxino::ops {

at::Tensor upload(const at::Tensor& host, const at::Device& device) {
  if (!device.is_cuda()) return host.to(device);
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

}  // namespace praxino::ops
