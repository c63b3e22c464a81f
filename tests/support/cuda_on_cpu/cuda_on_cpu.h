#pragma once
// Runs CUDA kernels on the CPU, from the sources that nvcc compiles for the device.
//
// Kernels written on kernels/device/*.cuh are compiled as C++ and launched as always; while a
// CudaOnCpu exists, its creator's launches run on it. Every thread of a block is a fiber. A warp's
// lanes meet at its collectives, a block's threads at its barriers, and several blocks are under
// way at once. Which thread goes on is drawn from the seed, and so is where it is interrupted: one
// seed is one schedule, and a correct kernel gives equal bits under all of them.
//
// A launch throws CudaFault (fault.h) when a kernel
// - accesses what is outside of an allocation, another block's shared memory, a misaligned address,
//   or writes to an input;
// - reads memory that nothing wrote (fresh memory is NaN in every type);
// - touches what another thread wrote or read, one of the two writing, without a barrier of both in
//   between; blocks of one launch are never ordered;
// - touches the destination of an asynchronous copy before the wait for it;
// - has a product or a copy of tiles read what threads wrote without fence_async() in between, or
//   writes what one still reads;
// - touches registers of a product before its wait, or begins one without a fence of them;
// - begins different products in the warps of a warpgroup, or tiles that the swizzle does not fit;
// - uses a barrier before it is initialised and known, comes to it too often, or to a named one
//   with another number of threads; leaves with copies under way;
// - meets a collective with lanes of its mask elsewhere, with another mask, at another call site,
//   or gone; shuffles from a lane that is not in the mask; meets different block barriers;
// - cannot go on: all its threads wait. The message says where each warp stands.
//
// Limits: one-dimensional blocks and grids; at most two unordered readers of a byte are remembered;
// the plain meaning of fast arithmetic is the exact one. For one OS thread; one object at a time.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "support/cuda_on_cpu/fault.h"

namespace praxino::testing {

class Machine;

class CudaOnCpu {
 public:
  struct Options {
    uint64_t seed = 1;                 // of the schedule
    int blocks_at_once = 3;            // how many blocks are under way together
    int multiprocessors = 1;           // what launchers are told; they choose their grids by it
    size_t shared_limit = 227 * 1024;  // bytes that a block may have
    double interruption = 0.05;        // how likely a thread is interrupted at an access
    // Memory of the host that kernels may touch, too: all of the allocation around an address, or
    // nothing. It counts as written before each launch, and is no input.
    std::function<std::span<std::byte>(const void*)> host_memory = {};
  };
  CudaOnCpu() : CudaOnCpu(Options{}) {}
  explicit CudaOnCpu(const Options& options);
  ~CudaOnCpu();
  CudaOnCpu(const CudaOnCpu&) = delete;
  CudaOnCpu& operator=(const CudaOnCpu&) = delete;

  /// An input: a copy of `values` that kernels can read. `skew` elements lie between it and an
  /// address that is aligned to 256 bytes. Like all memory here it lives as long as the object.
  template <class T>
  const T* upload(const std::vector<T>& values, const std::string& name, size_t skew = 0) {
    static_assert(std::is_trivially_copyable_v<T>);
    return static_cast<const T*>(
        upload_bytes(std::as_bytes(std::span(values)), name, sizeof(T), skew * sizeof(T)));
  }

  /// What kernels read and write in place: a copy of `values`.
  template <class T>
  T* state(const std::vector<T>& values, const std::string& name, size_t skew = 0) {
    static_assert(std::is_trivially_copyable_v<T>);
    return static_cast<T*>(
        state_bytes(std::as_bytes(std::span(values)), name, sizeof(T), skew * sizeof(T)));
  }

  /// Memory for a kernel's results: NaN, and a fault to read before it is written.
  template <class T>
  T* allocate(size_t count, const std::string& name, size_t skew = 0) {
    return static_cast<T*>(allocate_bytes(count * sizeof(T), name, sizeof(T), skew * sizeof(T)));
  }

  /// Gives memory of allocate() its first values.
  template <class T>
  void overwrite(T* address, const std::vector<T>& values) {
    overwrite_bytes(address, std::as_bytes(std::span(values)));
  }

  /// What the first `count` elements hold now.
  template <class T>
  std::vector<T> download(const T* address, size_t count) const {
    std::vector<T> values(count);
    fetch_bytes(address, values.data(), count * sizeof(T));
    return values;
  }

  /// Kernels launched so far.
  int launches() const;

 private:
  const void* upload_bytes(std::span<const std::byte> bytes, const std::string& name,
                           size_t granule, size_t skew);
  void* state_bytes(std::span<const std::byte> bytes, const std::string& name, size_t granule,
                    size_t skew);
  void* allocate_bytes(size_t bytes, const std::string& name, size_t granule, size_t skew);
  void overwrite_bytes(void* address, std::span<const std::byte> bytes);
  void fetch_bytes(const void* address, void* to, size_t bytes) const;

  std::unique_ptr<Machine> machine_;
};

}  // namespace praxino::testing
