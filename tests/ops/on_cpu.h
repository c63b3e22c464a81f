#pragma once
// Tests of what stands between tensors and kernels, src/ops/*_cuda.cpp, without a GPU: compiled as
// it is, it launches kernels that run on the CPU, and a tensor's memory is the device's. An access
// outside of a tensor is a fault, and memory that nothing wrote is NaN.

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "support/cuda_on_cpu/cuda_on_cpu.h"
#include "support/tensors.h"

namespace praxino::ops {

/// The memory of tensors, which it knows from here on. For one thread.
class KnownMemory : public c10::Allocator {
 public:
  static KnownMemory& installed() {
    static auto* memory = [] {
      auto* made = new KnownMemory;  // tensors may outlive everything
      c10::SetCPUAllocator(made, /*priority=*/1);
      return made;
    }();
    return *memory;
  }

  c10::DataPtr allocate(size_t bytes) override {
    void* data = c10::alloc_cpu(bytes);
    if (bytes > 0) std::memset(data, 0xff, bytes);
    largest_ = std::max(largest_, bytes);
    if (bytes > 0) blocks_[static_cast<std::byte*>(data)] = bytes;
    return {data, data, &forget, at::Device(at::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &forget; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  /// Bytes of the largest allocation since the last call.
  size_t largest() { return std::exchange(largest_, 0); }

  std::span<std::byte> around(const void* address) const {
    const auto* where = static_cast<const std::byte*>(address);
    const auto after = blocks_.upper_bound(const_cast<std::byte*>(where));
    if (after == blocks_.begin()) return {};
    const auto [begin, bytes] = *std::prev(after);
    return where < begin + bytes ? std::span(begin, bytes) : std::span<std::byte>();
  }

 private:
  static void forget(void* data) {
    installed().blocks_.erase(static_cast<std::byte*>(data));
    c10::free_cpu(data);
  }
  std::map<std::byte*, size_t> blocks_;
  size_t largest_ = 0;
};

/// A dense tensor with these values that begins an element after a multiple of 16 bytes.
inline at::Tensor unaligned(const at::Tensor& values) {
  const at::Tensor more = values.new_empty({values.numel() + 1});
  return more.narrow(0, 1, values.numel()).view(values.sizes()).copy_(values);
}

/// With tensors made after it.
class OnCpu : public ::testing::Test {
 protected:
  KnownMemory& memory_ = KnownMemory::installed();
  testing::CudaOnCpu cuda_{
      {.multiprocessors = 2, .interruption = 0, .host_memory = [this](const void* address) {
         return memory_.around(address);
       }}};
};

}  // namespace praxino::ops
