#include "praxino/data/batch.h"

#include <c10/core/Device.h>

namespace praxino {

Batch Batch::to(const at::Device& device) const {
  const auto moved = [&](const at::Tensor& tensor) {
    return tensor.to(tensor.options().device(device), /*non_blocking=*/true);
  };
  return {moved(frames), moved(actions), moved(known), samples, wait_seconds};
}

}  // namespace praxino
