#pragma once
// Copies from global to shared memory that run while the thread goes on (cp.async). Copies belong
// to the group that the thread commits next. Only after the wait may the thread touch what was
// copied, and other threads only after a barrier behind the wait.

#include "kernels/device/site.cuh"

namespace praxino::kernels::device {

/// 16 bytes; both addresses aligned to 16.
PRAXINO_DEVICE void copy_16_async(void* shared, const void* global,
                                  [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
#else
  cpu::copy_async(shared, global, 16, site);
#endif
}

/// The same where `there`; else 16 bytes of zeros, and `global` is not looked at.
PRAXINO_DEVICE void copy_16_async_or_zero(void* shared, const void* global, bool there,
                                          [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global),
               "r"(there ? 16 : 0)
               : "memory");
#else
  cpu::copy_async(shared, there ? global : nullptr, 16, site);
#endif
}

PRAXINO_DEVICE void commit_copies() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  cpu::commit_async();
#endif
}

/// Waits until at most `kGroups` of the thread's latest groups are under way.
template <int kGroups>
PRAXINO_DEVICE void wait_copies([[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
#else
  cpu::wait_async(kGroups, site);
#endif
}

}  // namespace praxino::kernels::device
