#pragma once
// The words in which kernels are declared. The same source is compiled by nvcc for the device and,
// as plain C++, for the CPU, where every access and every collective knows its call site.

#if defined(__CUDACC__)
#define PRAXINO_DEVICE __device__ __forceinline__
/// Opens the declaration of a kernel: how many threads its blocks have at most, and how many blocks
/// a multiprocessor shall hold at least, if more registers a thread are meant than the compiler
/// would take by itself.
#define PRAXINO_KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)
/// Opens the declaration of parameters whose address an instruction may take, or whose array is
/// indexed by more than constants: they stay where they are, instead of being copied to the stack.
#define PRAXINO_PARAMETERS const __grid_constant__
#define PRAXINO_UNROLL _Pragma("unroll")
// Where more copies of a body would take too many registers.
#define PRAXINO_UNROLL_TWICE _Pragma("unroll 2")
#define PRAXINO_NO_UNROLL _Pragma("unroll 1")
#define PRAXINO_HERE \
  {}
#else
#include <source_location>

#include "kernels/device/on_cpu.h"
#define PRAXINO_DEVICE inline
#define PRAXINO_KERNEL(...) void
#define PRAXINO_PARAMETERS const
#define PRAXINO_UNROLL
#define PRAXINO_UNROLL_TWICE
#define PRAXINO_NO_UNROLL
#define PRAXINO_HERE ::std::source_location::current()
#endif

namespace praxino::kernels::device {

#if defined(__CUDACC__)
struct Site {};
#else
using Site = std::source_location;
#endif

}  // namespace praxino::kernels::device
