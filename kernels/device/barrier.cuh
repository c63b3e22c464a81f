#pragma once
// Barriers finer than sync_block(): named ones, over some of the block's warps, and those that lie
// in shared memory and count arrivals and copied bytes (mbarrier, from 9.0). What a thread wrote
// before it arrives, all see after they waited.

#include "kernels/device/thread.cuh"

#if !defined(__CUDACC__)
#include "kernels/device/on_cpu_hopper.h"
#endif

namespace praxino::kernels::device {

/// A pointer into shared memory as instructions take it: its byte in the shared memory window.
PRAXINO_DEVICE uint32_t shared_address(const void* pointer,
                                       [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
#else
  return cpu::shared_offset(pointer, site);
#endif
}

/// Named barrier `number`, 1 .. 15 (0 is sync_block's): waits until `threads` threads, a multiple
/// of 32, have come here or to arrive_named() of the same number. Whole warps call it.
PRAXINO_DEVICE void sync_named(int number, int threads, [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
#else
  cpu::sync_named(number, threads, site);
#endif
}

/// Counts towards the same barrier and goes on.
PRAXINO_DEVICE void arrive_named(int number, int threads,
                                 [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory");
#else
  cpu::arrive_named(number, threads, site);
#endif
}

/// A barrier in shared memory. It is in phase 0 after init_barrier(); a phase ends when all its
/// arrivals have come and all its expected bytes have been copied, and the next begins.
struct Barrier {
  alignas(8) uint64_t state;
};

/// By one thread. Before anybody else uses the barriers: fence_barrier_init(), then sync_block().
PRAXINO_DEVICE void init_barrier(Barrier* barrier, int arrivals,
                                 [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
#else
  cpu::init_barrier(barrier, arrivals, site);
#endif
}

/// Makes the thread's init_barrier() known to copies.
PRAXINO_DEVICE void fence_barrier_init([[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#else
  cpu::fence_barrier_init(site);
#endif
}

/// One arrival of the phase.
PRAXINO_DEVICE void arrive(Barrier* barrier, [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
#else
  cpu::arrive_barrier(barrier, 0, site);
#endif
}

/// The same; the phase also waits for `bytes` that copies bring.
PRAXINO_DEVICE void arrive_and_expect(Barrier* barrier, uint32_t bytes,
                                      [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
#else
  cpu::arrive_barrier(barrier, bytes, site);
#endif
}

/// Waits for the end of the phase of this parity: returns at once where the current phase has the
/// other. A barrier that has just been made lets through who waits for parity 1.
PRAXINO_DEVICE void wait(Barrier* barrier, uint32_t parity,
                         [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  const uint32_t at = shared_address(barrier);
  uint32_t ended = 0;
  while (ended == 0) {
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n"
        "}"
        : "=r"(ended)
        : "r"(at), "r"(parity)
        : "memory");
  }
#else
  cpu::wait_barrier(barrier, parity, site);
#endif
}

/// Between the thread's own writes to shared memory and a barrier behind which a copy of tiles or a
/// product reads them.
PRAXINO_DEVICE void fence_async([[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#else
  cpu::fence_async(site);
#endif
}

}  // namespace praxino::kernels::device
