#pragma once
// What the plain meanings of kernels/device/*.cuh ask of a program that runs kernels on the CPU.
// Such a program links an implementation (tests/support/cuda_on_cpu); no other sees this header.
// Every function but run(), multiprocessors() and shared_limit() is called from inside a kernel, on
// its thread.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>

namespace praxino::kernels::device::cpu {

struct Launch {
  const char* kernel;
  int64_t blocks;
  int threads;  // of a block
  size_t shared_bytes;
};

/// Runs `body` once for each thread of each block, and returns when all are done.
void run(const Launch& launch, const std::function<void()>& body);
int multiprocessors();
/// Bytes of dynamic shared memory that a block may have.
size_t shared_limit();

struct Place {
  int thread;
  int threads;
  int64_t block;
  int64_t blocks;
};
Place place();

/// Copies between the kernel's memory, global or shared, and the thread's own.
void read(const void* from, void* to, size_t bytes, const std::source_location& site);
void write(void* to, const void* from, size_t bytes, const std::source_location& site);

/// The block's dynamic shared memory.
void* shared_memory();

void sync_block(const std::source_location& site);

/// What the lanes of a warp do together. A lane names itself and the others in `mask`.
enum class Collective {
  kSync,
  kShuffleXor,
  kShuffleDown,
  kShuffle,
  kLoadMatrices,
  kMultiply,
  kTranspose
};
/// The lane's `value` goes to the lanes that ask for it; returns what it asked for: the value of
/// lane ^ argument, lane + argument (its own past the end), or lane number `argument`.
uint32_t exchange(Collective kind, uint32_t mask, uint32_t value, int argument,
                  const std::source_location& site);

/// What all 32 lanes of a warp do at once: each hands over a piece of its own memory, and when the
/// last has come, `work` is called once with all pieces, by lane. `argument` must be the same in
/// all.
void together(Collective kind, int argument, void* own, void (*work)(void* const* lanes),
              const std::source_location& site);

/// A fault unless the address is a multiple of `bytes`.
void require_aligned(const void* address, size_t bytes, const std::source_location& site);

/// Copies global to shared memory, or zeros where `global` is null, at some time before the wait
/// that covers its group.
void copy_async(void* shared, const void* global, size_t bytes, const std::source_location& site);
void commit_async();
/// Waits until at most `groups` of the thread's committed groups are under way.
void wait_async(int groups, const std::source_location& site);

}  // namespace praxino::kernels::device::cpu
