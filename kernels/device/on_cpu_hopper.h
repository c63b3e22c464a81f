#pragma once
// What the plain meanings of the Hopper instructions (barrier.cuh, tile_map.cuh, wgmma.cuh) ask of
// a program that runs kernels on the CPU; beside kernels/device/on_cpu.h.

#include <cstddef>
#include <cstdint>
#include <source_location>

namespace praxino::kernels::device::cpu {

/// Named barriers of the block, 1 .. 15, over `threads` threads.
void sync_named(int number, int threads, const std::source_location& site);
void arrive_named(int number, int threads, const std::source_location& site);

/// Barriers in shared memory that count arrivals and bytes, phase by phase.
void init_barrier(void* barrier, int arrivals, const std::source_location& site);
void fence_barrier_init(const std::source_location& site);
void arrive_barrier(void* barrier, uint32_t expected_bytes, const std::source_location& site);
void wait_barrier(void* barrier, uint32_t parity, const std::source_location& site);

/// Makes the thread's writes to shared memory visible to copies of tiles and to products.
void fence_async(const std::source_location& site);

/// A tensor in global memory that is copied tile by tile. Dimension 0 is the innermost.
struct TensorTiles {
  static constexpr int kMostDimensions = 5;
  void* data = nullptr;
  int dimensions = 0;
  int element_bytes = 0;
  int64_t sizes[kMostDimensions] = {};    // in elements
  int64_t strides[kMostDimensions] = {};  // in bytes; of dimension 0 the element's
  int box[kMostDimensions] = {};          // in elements
  bool swizzled = false;
  size_t box_bytes() const {
    auto bytes = static_cast<size_t>(element_bytes);
    for (int i = 0; i < dimensions; ++i) bytes *= static_cast<size_t>(box[i]);
    return bytes;
  }
};
void load_tile(void* shared, const TensorTiles& tensor, const int* corner, void* barrier,
               const std::source_location& site);
void store_tile(const TensorTiles& tensor, const int* corner, const void* shared,
                const std::source_location& site);
void commit_stores();
/// Waits until at most `groups` of the thread's groups of stores are under way: have not read their
/// shared memory, or have not written.
void wait_stores(int groups, bool only_read, const std::source_location& site);

/// Where the pointer lies in the block's shared memory.
uint32_t shared_offset(const void* pointer, const std::source_location& site);

/// Registers of the thread.
struct Registers {
  const void* data;
  size_t bytes;
};

/// A product of a warpgroup: d = a b, or d += a b where `adds`.
struct Product {
  float* d;  // columns / 2
  int columns;
  const uint32_t* registers;  // four words of A, or null where `a` says where it lies
  uint64_t a, b;              // descriptors
  bool a_outer, b_outer;      // Major::kOuter
  bool adds;
};
void multiply_tiles(const Product& product, const std::source_location& site);
void fence_products(const Registers* registers, int count, const std::source_location& site);
void commit_products(const std::source_location& site);
void wait_products(int groups, const Registers* registers, int count,
                   const std::source_location& site);

/// The thread's registers become so many.
void set_registers(int count, bool more, const std::source_location& site);

}  // namespace praxino::kernels::device::cpu
