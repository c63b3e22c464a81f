#pragma once
// Copies of whole tiles between a tensor in global memory and shared memory, by the copy engine
// (TMA, from 9.0). A TileMap describes tensor and tile; it is made on the host and travels in the
// parameters of a kernel that is declared with PRAXINO_PARAMETERS.

#include "kernels/device/barrier.cuh"
#include "kernels/launch.h"
#include "kernels/warpgroup_tiles.h"

#if defined(__CUDACC__)
#include <cuda.h>
#include <cuda_runtime_api.h>
#endif

namespace praxino::kernels::device {

/// Up to five dimensions, the innermost first and contiguous.
struct TensorShape {
  static constexpr int kMostDimensions = 5;
  void* data = nullptr;  // aligned to 16 bytes
  Element element = Element::kBf16;
  int dimensions = 0;
  int64_t sizes[kMostDimensions] = {};    // in elements, from 1; a row is whole 16 bytes
  int64_t strides[kMostDimensions] = {};  // in elements, multiples of 16 bytes; that of dimension 0
                                          // is 1, whatever it says
  int box[kMostDimensions] = {};          // of a tile, in elements, at most 256 each
  bool swizzled = false;  // tiles lie as kernels/warpgroup_tiles.h says: box[0] is 128 bytes
};

struct TileMap {
#if defined(__CUDACC__)
  CUtensorMap map;
#else
  cpu::TensorTiles map;
#endif
};

/// Sizes and alignments that the copy engine takes.
inline bool can_be_tiled(const TensorShape& s) {
  const int64_t bytes = bytes_of(s.element);
  constexpr int64_t kMostStride = int64_t{1} << 40, kMostSize = int64_t{1} << 32;
  if (s.dimensions < 1 || s.dimensions > TensorShape::kMostDimensions || !aligned_16(s.data))
    return false;
  for (int i = 0; i < s.dimensions; ++i) {
    if (s.sizes[i] < 1 || s.sizes[i] > kMostSize || s.box[i] < 1 || s.box[i] > 256) return false;
    if (i > 0 &&
        (s.strides[i] < 1 || s.strides[i] >= kMostStride / bytes || s.strides[i] * bytes % 16 != 0))
      return false;
  }
  // Tiles stored across the end of other rows came out otherwise on an H100.
  if (s.sizes[0] * bytes % 16 != 0) return false;
  const int64_t row = s.box[0] * bytes;
  return row % 16 == 0 && (!s.swizzled || row == kBoxBytes);
}

#if defined(__CUDACC__)
using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

/// Asked of the driver by way of the runtime: the program does not link with libcuda. Null where
/// the driver is too old.
inline EncodeTiled encode_tiled() {
  static const EncodeTiled function = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    const cudaError_t asked = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found,
                                                               12000, cudaEnableDefault, &result);
    if (asked != cudaSuccess) cudaGetLastError();
    const bool there = asked == cudaSuccess && result == cudaDriverEntryPointSuccess;
    return there ? reinterpret_cast<EncodeTiled>(found) : nullptr;
  }();
  return function;
}
#endif

/// Host code. kRefused where can_be_tiled() does not hold.
inline Status make_tile_map(TileMap& to, const TensorShape& s) {
  if (!can_be_tiled(s)) return kRefused;
  const auto bytes = static_cast<int>(bytes_of(s.element));
#if defined(__CUDACC__)
  const EncodeTiled encode = encode_tiled();
  if (encode == nullptr) return {cudaErrorNotSupported};
  cuuint64_t sizes[TensorShape::kMostDimensions], strides[TensorShape::kMostDimensions];
  cuuint32_t box[TensorShape::kMostDimensions], steps[TensorShape::kMostDimensions];
  for (int i = 0; i < s.dimensions; ++i) {
    sizes[i] = static_cast<cuuint64_t>(s.sizes[i]);
    if (i > 0) strides[i - 1] = static_cast<cuuint64_t>(s.strides[i] * bytes);
    box[i] = static_cast<cuuint32_t>(s.box[i]);
    steps[i] = 1;
  }
  const auto make = [&] {
    return encode(&to.map,
                  bytes == 4 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                  static_cast<cuuint32_t>(s.dimensions), s.data, sizes, strides, box, steps,
                  CU_TENSOR_MAP_INTERLEAVE_NONE,
                  s.swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  };
  CUresult made = make();
  if (made == CUDA_ERROR_INVALID_CONTEXT) {
    // The runtime makes a context current at a thread's first launch, which comes after this. In a
    // thread of autograd's that has launched nothing yet, we ask for it.
    int device = 0;
    if (cudaGetDevice(&device) != cudaSuccess || cudaSetDevice(device) != cudaSuccess)
      cudaGetLastError();  // the driver says it once more
    made = make();
  }
  return {static_cast<int>(made)};  // codes of the driver are the runtime's
#else
  to.map = {
      .data = s.data, .dimensions = s.dimensions, .element_bytes = bytes, .swizzled = s.swizzled};
  for (int i = 0; i < s.dimensions; ++i) {
    to.map.sizes[i] = s.sizes[i];
    to.map.strides[i] = (i == 0 ? 1 : s.strides[i]) * bytes;
    to.map.box[i] = s.box[i];
  }
  return {};
#endif
}

/// Where a tile begins in its tensor, the innermost dimension first: that one at a multiple of 16
/// bytes. A tile may reach past the end of the tensor or lie behind it, and one that is loaded may
/// begin before it; one that is stored may not (an H100 calls that an illegal instruction).
struct Corner {
  int at[TensorShape::kMostDimensions];
};

/// Copies a tile to shared memory, aligned to 128 bytes, to kSwizzleBytes where swizzled; what lies
/// outside of the tensor becomes zero. `barrier` hears of all the tile's bytes when they are there;
/// nobody touches them before. By one thread.
template <int kDimensions>
PRAXINO_DEVICE void load_tile(void* shared, const TileMap& map, const Corner& corner,
                              Barrier* barrier, [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  const auto at = reinterpret_cast<uint64_t>(&map);
  const uint32_t to = shared_address(shared), behind = shared_address(barrier);
  const int* c = corner.at;
  if constexpr (kDimensions == 2) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4}], [%2];" ::"r"(to),
        "l"(at), "r"(behind), "r"(c[0]), "r"(c[1])
        : "memory");
  } else if constexpr (kDimensions == 3) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(to),
        "l"(at), "r"(behind), "r"(c[0]), "r"(c[1]), "r"(c[2])
        : "memory");
  } else if constexpr (kDimensions == 4) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(to),
        "l"(at), "r"(behind), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3])
        : "memory");
  } else {
    static_assert(kDimensions == 5);
    asm volatile(
        "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(to),
        "l"(at), "r"(behind), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]), "r"(c[4])
        : "memory");
  }
#else
  static_assert(kDimensions >= 2 && kDimensions <= 5);
  cpu::load_tile(shared, map.map, corner.at, barrier, site);
#endif
}

/// Copies a tile from shared memory; what lies outside of the tensor is left out. The threads that
/// wrote it have called fence_async() and met this one since. By one thread, then commit_stores().
template <int kDimensions>
PRAXINO_DEVICE void store_tile(const TileMap& map, const Corner& corner, const void* shared,
                               [[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  const auto at = reinterpret_cast<uint64_t>(&map);
  const uint32_t from = shared_address(shared);
  const int* c = corner.at;
  if constexpr (kDimensions == 2) {
    asm volatile(
        "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(
            at),
        "r"(from), "r"(c[0]), "r"(c[1])
        : "memory");
  } else if constexpr (kDimensions == 3) {
    asm volatile(
        "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::
            "l"(at),
        "r"(from), "r"(c[0]), "r"(c[1]), "r"(c[2])
        : "memory");
  } else if constexpr (kDimensions == 4) {
    asm volatile(
        "cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], "
        "[%1];" ::"l"(at),
        "r"(from), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3])
        : "memory");
  } else {
    static_assert(kDimensions == 5);
    asm volatile(
        "cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group "
        "[%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(at),
        "r"(from), "r"(c[0]), "r"(c[1]), "r"(c[2]), "r"(c[3]), "r"(c[4])
        : "memory");
  }
#else
  static_assert(kDimensions >= 2 && kDimensions <= 5);
  cpu::store_tile(map.map, corner.at, shared, site);
#endif
}

/// Makes a group of the thread's stores since the last.
PRAXINO_DEVICE void commit_stores() {
#if defined(__CUDACC__)
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#else
  cpu::commit_stores();
#endif
}

/// Waits until all but the latest kGroups groups of the thread have read their shared memory, which
/// may then be written again, or be given back at the end of the block.
template <int kGroups>
PRAXINO_DEVICE void wait_stores_read([[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kGroups) : "memory");
#else
  cpu::wait_stores(kGroups, /*only_read=*/true, site);
#endif
}

/// The same, and have written: the thread may read the tensor.
template <int kGroups>
PRAXINO_DEVICE void wait_stores([[maybe_unused]] Site site = PRAXINO_HERE) {
#if defined(__CUDACC__)
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(kGroups) : "memory");
#else
  cpu::wait_stores(kGroups, /*only_read=*/false, site);
#endif
}

}  // namespace praxino::kernels::device
