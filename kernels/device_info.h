#pragma once
// What the CUDA runtime says about itself and its devices. Without LibTorch, and without creating a
// context, so that asking costs no device memory. Thread-safe.

#include <cstddef>

namespace praxino::kernels {

struct DeviceInfo {
  char name[256] = {};
  int major = 0;  // compute capability
  int minor = 0;
  int multiprocessors = 0;
  size_t memory_bytes = 0;
};

/// The runtime's own status code: 0 is success, others are explained by status_text().
struct Status {
  int code = 0;
  bool ok() const { return code == 0; }
};
const char* status_text(Status status);

/// Versions as the runtime counts them: 13000 is 13.0. `driver` is 0 where no driver is installed.
struct CudaVersions {
  int runtime = 0;
  int driver = 0;
};
Status cuda_versions(CudaVersions& versions);

/// Number of visible devices. A machine without driver or device gives a status that says so, and
/// 0.
Status device_count(int& count);

Status device_info(int device, DeviceInfo& info);

}  // namespace praxino::kernels
