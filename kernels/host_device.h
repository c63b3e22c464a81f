#pragma once
// PRAXINO_HOST_DEVICE marks what CPU and GPU both run; compilers without CUDA see nothing.

#if defined(__CUDACC__)
#define PRAXINO_HOST_DEVICE __host__ __device__
#else
#define PRAXINO_HOST_DEVICE
#endif
