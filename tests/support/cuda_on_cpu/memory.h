#pragma once
// The memory that emulated kernels see. Addresses lie in a range that no process can touch, as a
// device's do: a kernel that dereferences a pointer itself crashes, and only accesses by way of the
// device layer reach the bytes. Each access is checked: inside an allocation, aligned, initialised,
// not under an unfinished asynchronous copy, and ordered after what other threads did.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <source_location>
#include <span>
#include <string>
#include <vector>

#include "support/cuda_on_cpu/clocks.h"

namespace praxino::testing {

/// Thrown at an access that breaks a rule: a sentence without its subject, such as "reads ...".
struct MemoryViolation {
  std::string text;
};

/// Who accesses memory, and when.
struct Actor {
  uint32_t launch;
  int64_t block;
  int thread;
  const Clocks* clocks;
  bool asynchronous = false;  // a product or a copy of tiles, which this thread began
};

/// A mark that an access leaves on the bytes that it touched.
struct Stamp {
  uint32_t launch = 0;  // 0: none
  uint32_t clock = 0;
  int32_t block = 0;
  int32_t thread = 0;
};

class Memory {
 public:
  using HostMemory = std::function<std::span<std::byte>(const void*)>;
  /// `host`: what else may be accessed (CudaOnCpu::Options).
  explicit Memory(HostMemory host);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  struct Options {
    std::string name;
    size_t granule = 1;  // bytes that are always accessed together
    size_t skew = 0;     // bytes from an aligned address to the first
    bool read_only = false;
    int64_t block = -1;  // the block whose shared memory it is; -1: global
  };
  /// Bytes of NaN (all ones), not initialised. Returns the address that kernels see.
  void* allocate(size_t bytes, const Options& options);
  void release(const void* address);
  /// Looks again at what the host has, which counts as written now: before each launch.
  void forget_host();

  /// The host's copies to and from an allocation. `fill` makes bytes initialised; bytes that no
  /// one wrote are read as they are.
  void fill(const void* address, const void* from, size_t bytes);
  void fetch(const void* address, void* to, size_t bytes) const;

  /// Accesses of a kernel. They throw MemoryViolation.
  /// `alignment`: 0 for that of the size.
  void read(const void* from, void* to, size_t bytes, const Actor& actor, size_t alignment = 0);
  void write(void* to, const void* from, size_t bytes, const Actor& actor);

  /// An asynchronous copy: between the two calls, nothing may touch the bytes.
  void begin_copy(void* to, size_t bytes, const Actor& actor, size_t alignment = 0);
  void finish_copy(void* to, const void* from, size_t bytes, const Actor& actor);
  /// What the bytes are now, unchecked.
  void peek(const void* from, void* to, size_t bytes) const;
  /// Leaves the mark of a read that was checked before, by another actor.
  void mark_read(const void* from, size_t bytes, const Actor& actor);

 private:
  struct Granule {
    Stamp write;
    Stamp reads[2];  // of threads that are not ordered among each other
    bool initialised = false;
    bool pending = false;
  };
  struct Allocation {
    uintptr_t begin;
    Options options;
    std::vector<std::byte> own;  // empty for memory of the host
    std::span<std::byte> bytes;
    std::vector<Granule> granules;
  };
  struct Found {
    Allocation& in;
    size_t offset;
  };

  Found find(const void* address, size_t bytes, size_t alignment, const Actor& actor,
             const char* verb);
  Allocation& containing(const void* address) const;
  bool of_host(uintptr_t address) const;
  void adopt_from_host(uintptr_t address);
  template <class Visit>
  static void each_granule(Found found, size_t bytes, Visit visit);

  HostMemory host_;
  uintptr_t base_;
  uintptr_t next_;
  std::map<uintptr_t, Allocation> allocations_;  // by first address
};

}  // namespace praxino::testing
