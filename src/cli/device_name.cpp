#include "cli/device_name.h"

#include <fmt/core.h>

#include "cli/machine.h"
#ifdef PRAXINO_CUDA
#include "kernels/device_info.h"
#endif

namespace praxino {

std::string device_name(const at::Device& device) {
  if (!device.is_cuda()) return fmt::format("{} {}", device.str(), this_processor().name);
#ifdef PRAXINO_CUDA
  kernels::DeviceInfo info;
  kernels::CudaVersions versions;
  if (kernels::device_info(device.index(), info).ok() && kernels::cuda_versions(versions).ok()) {
    const auto text = [](int v) { return fmt::format("{}.{}", v / 1000, v % 1000 / 10); };
    return fmt::format("{} {}, capability {}.{}, CUDA {}, driver for {}", device.str(),
                       static_cast<const char*>(info.name), info.major, info.minor,
                       text(versions.runtime), text(versions.driver));
  }
#endif
  return device.str();
}

}  // namespace praxino
