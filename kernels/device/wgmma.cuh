#pragma once
// Products of a warpgroup that run while its threads go on: wgmma, compute capability 9.0 alone. A
// warpgroup is four warps, the first with a number divisible by four; all 128 threads make each
// call together.
//
// Registers that a product reads or writes must be left alone from the call to the wait_products()
// that covers its group, and the compiler must know: fence_products() is handed all accumulators
// and A fragments of the products begun behind it, wait_products() those of the products that it
// ends. Shared memory that a product reads is in use until then, too.

#include "kernels/bf16.h"
#include "kernels/device/barrier.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/warpgroup_tiles.h"

/// A kernel whose body needs 9.0a has a trap for a body elsewhere.
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define PRAXINO_HAS_WARPGROUPS 1
#else
#define PRAXINO_HAS_WARPGROUPS 0
#endif

namespace praxino::kernels::device {

/// A thread's part of 64 x N floats (warpgroup_d).
template <int N>
struct Accumulator {
  float v[N / 2];
};

#if defined(__CUDACC__)
// Nothing that the compiler knows of the value before holds after.
PRAXINO_DEVICE void hold(float& value) { asm volatile("" : "+f"(value)::"memory"); }
PRAXINO_DEVICE void hold(uint32_t& word) { asm volatile("" : "+r"(word)::"memory"); }
template <int N>
PRAXINO_DEVICE void hold(Accumulator<N>& d) {
  PRAXINO_UNROLL
  for (int i = 0; i < N / 2; ++i) hold(d.v[i]);
}
PRAXINO_DEVICE void hold(FragmentA& a) {
  PRAXINO_UNROLL
  for (int i = 0; i < 4; ++i) hold(a.word[i]);
}
template <class T, int N>
PRAXINO_DEVICE void hold(T (&several)[N]) {
  PRAXINO_UNROLL
  for (int i = 0; i < N; ++i) hold(several[i]);
}
#endif

template <class... Used>
PRAXINO_DEVICE void fence_products_of([[maybe_unused]] Site site, Used&... registers) {
#if defined(__CUDACC__)
  (hold(registers), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
  const cpu::Registers list[] = {{&registers, sizeof(registers)}...};
  cpu::fence_products(list, sizeof...(registers), site);
#endif
}

/// Before products: what the thread did to these registers comes before what the products do.
template <class A>
PRAXINO_DEVICE void fence_products(A& a, Site site = PRAXINO_HERE) {
  fence_products_of(site, a);
}
template <class A, class B>
PRAXINO_DEVICE void fence_products(A& a, B& b, Site site = PRAXINO_HERE) {
  fence_products_of(site, a, b);
}
template <class A, class B, class C>
PRAXINO_DEVICE void fence_products(A& a, B& b, C& c, Site site = PRAXINO_HERE) {
  fence_products_of(site, a, b, c);
}

/// Makes a group of the products since the last.
PRAXINO_DEVICE void commit_products([[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
  cpu::commit_products(site);
#endif
}

template <int kGroups, class... Used>
PRAXINO_DEVICE void wait_products_of([[maybe_unused]] Site site, Used&... registers) {
#if defined(__CUDACC__)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroups) : "memory");
  (hold(registers), ...);
#else
  const cpu::Registers list[] = {{&registers, sizeof(registers)}...};
  cpu::wait_products(kGroups, list, sizeof...(registers), site);
#endif
}

/// Waits until all but the latest kGroups groups have ended.
template <int kGroups, class A>
PRAXINO_DEVICE void wait_products(A& a, Site site = PRAXINO_HERE) {
  wait_products_of<kGroups>(site, a);
}
template <int kGroups, class A, class B>
PRAXINO_DEVICE void wait_products(A& a, B& b, Site site = PRAXINO_HERE) {
  wait_products_of<kGroups>(site, a, b);
}
template <int kGroups, class A, class B, class C>
PRAXINO_DEVICE void wait_products(A& a, B& b, C& c, Site site = PRAXINO_HERE) {
  wait_products_of<kGroups>(site, a, b, c);
}

#if defined(__CUDACC__)
#define PRAXINO_FLOATS_8(d, i)                                                                \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define PRAXINO_FLOATS_32(d, i)                                                    \
  PRAXINO_FLOATS_8(d, i), PRAXINO_FLOATS_8(d, i + 8), PRAXINO_FLOATS_8(d, i + 16), \
      PRAXINO_FLOATS_8(d, i + 24)

template <int kOuterA, int kOuterB>
PRAXINO_DEVICE void wgmma_shared(float (&d)[32], uint64_t a, uint64_t b, int adds) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, %32, %33, p, 1, 1, %35, %36;\n"
      "}"
      : PRAXINO_FLOATS_32(d, 0)
      : "l"(a), "l"(b), "r"(adds), "n"(kOuterA), "n"(kOuterB)
      : "memory");
}

template <int kOuterB>
PRAXINO_DEVICE void wgmma_registers(float (&d)[32], const FragmentA& a, uint64_t b, int adds) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, %38;\n"
      "}"
      : PRAXINO_FLOATS_32(d, 0)
      : "r"(a.word[0]), "r"(a.word[1]), "r"(a.word[2]), "r"(a.word[3]), "l"(b), "r"(adds),
        "n"(kOuterB)
      : "memory");
}

template <int kOuterA, int kOuterB>
PRAXINO_DEVICE void wgmma_shared(float (&d)[64], uint64_t a, uint64_t b, int adds) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, %64, %65, p, 1, 1, %67, %68;\n"
      "}"
      : PRAXINO_FLOATS_32(d, 0), PRAXINO_FLOATS_32(d, 32)
      : "l"(a), "l"(b), "r"(adds), "n"(kOuterA), "n"(kOuterB)
      : "memory");
}

template <int kOuterB>
PRAXINO_DEVICE void wgmma_registers(float (&d)[64], const FragmentA& a, uint64_t b, int adds) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, %70;\n"
      "}"
      : PRAXINO_FLOATS_32(d, 0), PRAXINO_FLOATS_32(d, 32)
      : "r"(a.word[0]), "r"(a.word[1]), "r"(a.word[2]), "r"(a.word[3]), "l"(b), "r"(adds),
        "n"(kOuterB)
      : "memory");
}

#undef PRAXINO_FLOATS_32
#undef PRAXINO_FLOATS_8
#endif

/// d = a b, or d += a b where `adds`: 64 x 16 by 16 x N, bfloat16 with sums in float. N is 64 or
/// 128. Both operands in shared memory, stored as their Major says; a and b are descriptors
/// (encode_tile).
template <Major kA, Major kB, int N>
PRAXINO_DEVICE void multiply_tiles(Accumulator<N>& d, uint64_t a, uint64_t b, bool adds,
                                   [[maybe_unused]] Site site = PRAXINO_HERE) {
  static_assert(N == 64 || N == 128);
#if defined(__CUDACC__)
  wgmma_shared<kA == Major::kOuter, kB == Major::kOuter>(d.v, a, b, adds);
#else
  cpu::multiply_tiles({.d = d.v,
                       .columns = N,
                       .registers = nullptr,
                       .a = a,
                       .b = b,
                       .a_outer = kA == Major::kOuter,
                       .b_outer = kB == Major::kOuter,
                       .adds = adds},
                      site);
#endif
}
template <Major kA, Major kB, int N>
PRAXINO_DEVICE void multiply_tiles(Accumulator<N>& d, const MatrixTile& a, const MatrixTile& b,
                                   bool adds, Site site = PRAXINO_HERE) {
  multiply_tiles<kA, kB>(d, encode_tile(a), encode_tile(b), adds, site);
}

/// The same with A in registers (warpgroup_a).
template <Major kB, int N>
PRAXINO_DEVICE void multiply_tiles(Accumulator<N>& d, const FragmentA& a, uint64_t b, bool adds,
                                   [[maybe_unused]] Site site = PRAXINO_HERE) {
  static_assert(N == 64 || N == 128);
#if defined(__CUDACC__)
  wgmma_registers<kB == Major::kOuter>(d.v, a, b, adds);
#else
  cpu::multiply_tiles({.d = d.v,
                       .columns = N,
                       .registers = a.word,
                       .a = 0,
                       .b = b,
                       .a_outer = false,
                       .b_outer = kB == Major::kOuter,
                       .adds = adds},
                      site);
#endif
}
template <Major kB, int N>
PRAXINO_DEVICE void multiply_tiles(Accumulator<N>& d, const FragmentA& a, const MatrixTile& b,
                                   bool adds, Site site = PRAXINO_HERE) {
  multiply_tiles<kB>(d, a, encode_tile(b), adds, site);
}

/// The warpgroup's threads give back registers down to kCount each, or take them up to kCount,
/// waiting until others have given back enough. A multiple of 8 from 24 to 240. The kernel is
/// declared with the number of threads it is launched with.
template <int kCount>
PRAXINO_DEVICE void give_back_registers([[maybe_unused]] Site site = PRAXINO_HERE) {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 240);
#if defined(__CUDACC__)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
#else
  cpu::set_registers(kCount, /*more=*/false, site);
#endif
}
template <int kCount>
PRAXINO_DEVICE void take_registers([[maybe_unused]] Site site = PRAXINO_HERE) {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 240);
#if defined(__CUDACC__)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
#else
  cpu::set_registers(kCount, /*more=*/true, site);
#endif
}

}  // namespace praxino::kernels::device
