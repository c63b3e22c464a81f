#include "kernels/probes_hopper.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/tile_map.cuh"
#include "kernels/device/wgmma.cuh"

namespace praxino::kernels::testing {
namespace {

using namespace device;

// Element (row, column) of a matrix goes where a swizzled tile has it.
PRAXINO_DEVICE void store_boxed(char* tile, const Bf16* from, int rows, int columns, int row_stride,
                                int column_stride) {
  for (int i = thread_index(); i < rows * columns; i += kWarpgroup) {
    const int row = i / columns, column = i % columns;
    const float value = load(from + row * row_stride + column * column_stride);
    store(reinterpret_cast<Bf16*>(tile + boxed_offset(row, column, rows)), value);
  }
}

template <int N, Major kA, Major kB>
PRAXINO_DEVICE void multiply(const ProductProbe& p, Accumulator<N>& d, char* a, char* b) {
  const int steps = p.depth / kTileDepth;
  const uint32_t at_a = shared_address(a), at_b = shared_address(b);
  const int rows_a = kA == Major::kDepth ? kTileRows : p.depth;
  const int rows_b = kB == Major::kDepth ? N : p.depth;
  fence_products(d);
  for (int step = 0; step < steps; ++step)
    multiply_tiles<kA, kB>(d, operand_tile(at_a, kA, rows_a, 0, step),
                           operand_tile(at_b, kB, rows_b, 0, step), true);
  commit_products();
  wait_products<0>(d);
}

template <int N, Major kB>
PRAXINO_DEVICE void multiply_by_registers(const ProductProbe& p, Accumulator<N>& d, char* b) {
  const uint32_t at_b = shared_address(b);
  const int rows_b = kB == Major::kDepth ? N : p.depth;
  for (int step = 0; step < p.depth / kTileDepth; ++step) {
    FragmentA a;
    for (int word = 0; word < 4; ++word) {
      const FragmentSpot spot = warpgroup_a(thread_index(), 2 * word);
      const Bf16* at = p.a + spot.row * p.depth + step * kTileDepth + spot.column;
      a.word[word] = pack_bf16(load(at), load(at + 1));
    }
    fence_products(d, a);
    multiply_tiles<kB>(d, a, operand_tile(at_b, kB, rows_b, 0, step), true);
    commit_products();
    wait_products<0>(d, a);
  }
}

template <int N, Major kB>
PRAXINO_DEVICE void multiply_by(const ProductProbe& p, Accumulator<N>& d, char* a, char* b) {
  if (p.a_in_registers) {
    multiply_by_registers<N, kB>(p, d, b);
  } else if (p.a_outer) {
    multiply<N, Major::kOuter, kB>(p, d, a, b);
  } else {
    multiply<N, Major::kDepth, kB>(p, d, a, b);
  }
}

template <int N>
PRAXINO_KERNEL(kWarpgroup)
product_kernel(ProductProbe p) {
#if PRAXINO_HAS_WARPGROUPS
  char* a = reinterpret_cast<char*>(shared_floats());
  char* b = a + kTileRows * p.depth * 2;
  if (p.a_outer) {
    store_boxed(a, p.a, p.depth, kTileRows, 1, p.depth);
  } else {
    store_boxed(a, p.a, kTileRows, p.depth, p.depth, 1);
  }
  if (p.b_outer) {
    store_boxed(b, p.b, p.depth, N, N, 1);
  } else {
    store_boxed(b, p.b, N, p.depth, 1, N);
  }
  fence_async();
  sync_block();
  Accumulator<N> d;
  PRAXINO_UNROLL
  for (int i = 0; i < N / 2; ++i) {
    const FragmentSpot spot = warpgroup_d(thread_index(), i);
    d.v[i] = load(p.c + spot.row * N + spot.column);
  }
  if (p.b_outer) {
    multiply_by<N, Major::kOuter>(p, d, a, b);
  } else {
    multiply_by<N, Major::kDepth>(p, d, a, b);
  }
  PRAXINO_UNROLL
  for (int i = 0; i < N / 2; ++i) {
    const FragmentSpot spot = warpgroup_d(thread_index(), i);
    store(p.d + spot.row * N + spot.column, d.v[i]);
  }
#else
  __trap();
#endif
}

struct Copies {
  TileMap from, to;
  float* list;
  int count;
  Corner corner, back;
};

template <int kDimensions>
PRAXINO_KERNEL(32)
tile_kernel(PRAXINO_PARAMETERS Copies p) {
#if PRAXINO_HAS_WARPGROUPS
  float* tile = shared_floats();
  auto* barrier = reinterpret_cast<Barrier*>(tile + (p.count + 31) / 32 * 32);
  if (thread_index() == 0) {
    init_barrier(barrier, 1);
    fence_barrier_init();
  }
  sync_block();
  if (thread_index() == 0) {
    arrive_and_expect(barrier, static_cast<uint32_t>(p.count) * 4);
    load_tile<kDimensions>(tile, p.from, p.corner, barrier);
  }
  wait(barrier, 0);
  for (int i = thread_index(); i < p.count; i += 32) {
    const float value = load(tile + i);
    store(p.list + i, value);
    store(tile + i, value + 1000);
  }
  fence_async();
  sync_block();
  if (thread_index() == 0) {
    store_tile<kDimensions>(p.to, p.back, tile);
    commit_stores();
    wait_stores_read<0>();  // the tile is free, though the tensor may not be written yet
    store(tile, -2);
    wait_stores<0>();
  }
#else
  __trap();
#endif
}

struct SwizzledCopy {
  TileMap from;
  uint32_t* list;
  int rows;
};

PRAXINO_KERNEL(32)
swizzle_kernel(PRAXINO_PARAMETERS SwizzledCopy p) {
#if PRAXINO_HAS_WARPGROUPS
  auto* words = reinterpret_cast<uint32_t*>(shared_floats());
  auto* barrier = reinterpret_cast<Barrier*>(words + p.rows * 32);
  if (thread_index() == 0) {
    init_barrier(barrier, 1);
    fence_barrier_init();
  }
  sync_block();
  if (thread_index() == 0) {
    arrive_and_expect(barrier, static_cast<uint32_t>(p.rows * kBoxBytes));
    load_tile<2>(words, p.from, Corner{{0, 0}}, barrier);
  }
  wait(barrier, 0);
  for (int i = thread_index(); i < p.rows * 32; i += 32)
    store_raw(p.list + i, load_raw(words + i, PRAXINO_HERE), PRAXINO_HERE);
#else
  __trap();
#endif
}

struct Ring {
  TileMap from;
  float* to;
  int tiles;
};

constexpr int kRingTile = 64;

PRAXINO_KERNEL(2 * kWarpgroup, 1)
ring_kernel(PRAXINO_PARAMETERS Ring p) {
#if PRAXINO_HAS_WARPGROUPS
  float* stages = shared_floats();
  auto* full = reinterpret_cast<Barrier*>(stages + 2 * kRingTile);
  Barrier* empty = full + 2;
  if (thread_index() == 0) {
    for (int stage = 0; stage < 2; ++stage) {
      init_barrier(full + stage, 1);
      init_barrier(empty + stage, 4);
    }
    fence_barrier_init();
  }
  sync_block();
  if (thread_index() < kWarpgroup) {
    give_back_registers<24>();
    if (thread_index() != 0) return;
    for (int i = 0; i < p.tiles; ++i) {
      const int stage = i % 2;
      wait(empty + stage, static_cast<uint32_t>(i / 2 + 1) % 2);
      arrive_and_expect(full + stage, kRingTile * 4);
      load_tile<2>(stages + stage * kRingTile, p.from, Corner{{0, i}}, full + stage);
    }
    return;
  }
  take_registers<240>();
  for (int i = 0; i < p.tiles; ++i) {
    const int stage = i % 2, column = thread_index() - kWarpgroup;
    wait(full + stage, static_cast<uint32_t>(i / 2) % 2);
    if (column < kRingTile)
      store(p.to + i * kRingTile + column, load(stages + stage * kRingTile + column));
    sync_warp();
    if (lane_index() == 0) arrive(empty + stage);
  }
#else
  __trap();
#endif
}

PRAXINO_KERNEL(2 * kWarpgroup)
turns_kernel(TurnsProbe p) {
#if PRAXINO_HAS_WARPGROUPS
  const int own = thread_index() / kWarpgroup;
  float* count = shared_floats();
  if (own == 1) {
    if (thread_index() == kWarpgroup) store(count, 0);
    arrive_named(1, 2 * kWarpgroup);
  }
  for (int turn = 0; turn < p.turns; ++turn) {
    sync_named(1 + own, 2 * kWarpgroup);
    if (thread_index() % kWarpgroup == 0) {
      const float at = load(count);
      store(p.list + static_cast<int>(at), static_cast<float>(own + 1));
      store(count, at + 1);
    }
    const bool last = own == 1 && turn + 1 == p.turns;
    if (!last) arrive_named(2 - own, 2 * kWarpgroup);
  }
#else
  __trap();
#endif
}

}  // namespace

Status launch_probe(const ProductProbe& p, Stream stream) {
  const size_t shared = static_cast<size_t>(kTileRows + p.columns) * static_cast<size_t>(p.depth);
  const auto kernel = p.columns == 64 ? product_kernel<64> : product_kernel<128>;
  return launch(kernel, {"product", 1, kWarpgroup, 2 * shared}, p, stream);
}

Status launch_probe(const TileProbe& p, Stream stream) {
  TensorShape shape{
      .data = const_cast<float*>(p.from), .element = Element::kFloat, .dimensions = p.dimensions};
  Copies copies{.from = {}, .to = {}, .list = p.list, .count = 1, .corner = {}, .back = {}};
  for (int i = 0; i < p.dimensions; ++i) {
    shape.sizes[i] = p.sizes[i];
    shape.strides[i] = p.strides[i];
    shape.box[i] = p.box[i];
    copies.corner.at[i] = p.corner[i];
    copies.back.at[i] = p.back[i];
    copies.count *= p.box[i];
  }
  if (const Status made = make_tile_map(copies.from, shape); !made.ok()) return made;
  shape.data = p.to;
  if (const Status made = make_tile_map(copies.to, shape); !made.ok()) return made;
  constexpr void (*kKernels[])(Copies) = {tile_kernel<2>, tile_kernel<3>, tile_kernel<4>,
                                          tile_kernel<5>};
  const auto shared = static_cast<size_t>((copies.count + 31) / 32 * 32 + 2) * 4;
  return launch(kKernels[p.dimensions - 2], {"tile", 1, 32, shared}, copies, stream);
}

Status launch_probe(const SwizzleProbe& p, Stream stream) {
  SwizzledCopy copy{.from = {}, .list = p.list, .rows = p.rows};
  const Status made = make_tile_map(copy.from, {.data = const_cast<Bf16*>(p.from),
                                                .dimensions = 2,
                                                .sizes = {kBoxColumns, p.rows},
                                                .strides = {1, kBoxColumns},
                                                .box = {kBoxColumns, p.rows},
                                                .swizzled = true});
  if (!made.ok()) return made;
  const auto shared = static_cast<size_t>(p.rows * kBoxBytes + 8);
  return launch(swizzle_kernel, {"swizzle", 1, 32, shared}, copy, stream);
}

Status launch_probe(const RingProbe& p, Stream stream) {
  Ring ring{.from = {}, .to = p.to, .tiles = p.tiles};
  const Status made = make_tile_map(ring.from, {.data = const_cast<float*>(p.from),
                                                .element = Element::kFloat,
                                                .dimensions = 2,
                                                .sizes = {kRingTile, p.tiles},
                                                .strides = {1, kRingTile},
                                                .box = {kRingTile, 1}});
  if (!made.ok()) return made;
  return launch(ring_kernel, {"ring", 1, 2 * kWarpgroup, 2 * kRingTile * 4 + 32}, ring, stream);
}

Status launch_probe(const TurnsProbe& p, Stream stream) {
  return launch(turns_kernel, {"turns", 1, 2 * kWarpgroup, 16}, p, stream);
}

}  // namespace praxino::kernels::testing
