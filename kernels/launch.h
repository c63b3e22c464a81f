#pragma once
// What launchers share: the stream they launch on, the status they return, the element types that
// kernels know. Without CUDA headers, so that a launcher can be declared anywhere.

#include <cstdint>

#include "kernels/device_info.h"
#include "kernels/host_device.h"

struct CUstream_st;  // the CUDA runtime's own name

namespace praxino::kernels {

/// The runtime's cudaStream_t; null is the default stream.
using Stream = CUstream_st*;

/// What a launcher returns, without having launched, for sizes and pointers that it does not take:
/// the runtime's cudaErrorInvalidValue.
inline constexpr Status kRefused{1};

/// The type of elements behind an untyped pointer.
enum class Element { kFloat, kBf16 };

constexpr int64_t bytes_of(Element element) { return element == Element::kFloat ? 4 : 2; }

/// True where 16-byte accesses may begin at the pointer.
inline PRAXINO_HOST_DEVICE bool aligned_16(const void* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
}

}  // namespace praxino::kernels
