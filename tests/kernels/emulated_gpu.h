#pragma once
// The emulator as the probes want a device (expect_probes.h, expect_portable.h).

#include <vector>

#include "support/cuda_on_cpu/cuda_on_cpu.h"

namespace praxino::kernels::testing {

class EmulatedGpu {
 public:
  explicit EmulatedGpu(uint64_t seed) : cuda_({.seed = seed}) {}
  template <class T>
  const T* upload(const std::vector<T>& values) {
    return cuda_.upload(values, "input");
  }
  template <class T>
  T* allocate(size_t count) {
    return cuda_.allocate<T>(count, "output");
  }
  template <class T>
  void fill(T* to, const std::vector<T>& values) {
    cuda_.overwrite(to, values);
  }
  template <class T>
  std::vector<T> download(const T* from, size_t count) const {
    return cuda_.download(from, count);
  }

 private:
  praxino::testing::CudaOnCpu cuda_;
};

}  // namespace praxino::kernels::testing
