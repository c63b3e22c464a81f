#pragma once
// What the Hopper kernels of attention over frames share: tiles in shared memory, the tensors that
// they are copied from, products of tiles, and how a result leaves the chip.

#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/tile_map.cuh"
#include "kernels/device/warp.cuh"
#include "kernels/device/wgmma.cuh"
#include "kernels/frame_attention_tiles.cuh"

namespace praxino::kernels::device {

// A loading warpgroup and two that compute.
inline constexpr int kLoaders = kWarpgroup;
inline constexpr int kWorkers = 2;
inline constexpr int kHopperThreads = kLoaders + kWorkers * kWarpgroup;
inline constexpr int kWorkerRows = kWorkers * kTileRows;
inline constexpr int kWorkerWarps = 4 * kWorkers;
inline constexpr int kStages = 2;
// Registers of a thread: 64 Ki, less what a step of 8 leaves over.
inline constexpr int kLoaderRegisters = 24;
inline constexpr int kWorkerRegisters = 240;
static_assert(kLoaders * kLoaderRegisters + kWorkers * kWarpgroup * kWorkerRegisters <= 65536);

/// Bytes of a tile.
constexpr PRAXINO_HOST_DEVICE int tile_bytes(int rows, int width) { return 2 * rows * width; }

/// Copies a tile of rows of one head: a box for every 64 columns.
template <int kWidth>
PRAXINO_DEVICE void load_rows(char* to, const TileMap& map, int rows, int token, int head,
                              int batch, Barrier* barrier, Site site = PRAXINO_HERE) {
  PRAXINO_UNROLL
  for (int column = 0; column < kWidth; column += kBoxColumns) {
    load_tile<4>(to + boxed_offset(0, column, rows), map, Corner{{column, token, head, batch}},
                 barrier, site);
  }
}

/// d = rows from `row` on of tile a times the rows of tile b, along the width of both.
template <int kWidth, int N>
PRAXINO_DEVICE void multiply_rows(Accumulator<N>& d, const char* a, int rows_a, int row,
                                  const char* b, Site site = PRAXINO_HERE) {
  constexpr Major kMajor = Major::kDepth;
  const uint64_t at_a = encode_tile(operand_tile(shared_address(a), kMajor, rows_a, row, 0));
  const uint64_t at_b = encode_tile(operand_tile(shared_address(b), kMajor, N, 0, 0));
  PRAXINO_UNROLL
  for (int step = 0; step < kWidth / kTileDepth; ++step) {
    multiply_tiles<kMajor, kMajor>(d, further(at_a, operand_tile(0, kMajor, rows_a, 0, step).start),
                                   further(at_b, operand_tile(0, kMajor, N, 0, step).start),
                                   step > 0, site);
  }
}

/// sum += a times tile b: the contraction runs along the columns of a and the rows of b.
template <int kWidth, int kSteps>
PRAXINO_DEVICE void add_product(Accumulator<kWidth>& sum, const FragmentA* a, const char* b,
                                Site site = PRAXINO_HERE) {
  constexpr Major kMajor = Major::kOuter;
  constexpr int kRows = kSteps * kTileDepth;
  const uint64_t at = encode_tile(operand_tile(shared_address(b), kMajor, kRows, 0, 0));
  PRAXINO_UNROLL
  for (int step = 0; step < kSteps; ++step) {
    multiply_tiles<kMajor>(sum, a[step], further(at, operand_tile(0, kMajor, kRows, 0, step).start),
                           true, site);
  }
}

/// Columns 16 step .. 16 step + 15 as A of the next product.
template <int N>
PRAXINO_DEVICE FragmentA as_operand(const Accumulator<N>& d, int step) {
  FragmentA a;
  PRAXINO_UNROLL
  for (int word = 0; word < 4; ++word)
    a.word[word] = pack_bf16(d.v[8 * step + 2 * word], d.v[8 * step + 2 * word + 1]);
  return a;
}

template <int N>
PRAXINO_DEVICE void clear(Accumulator<N>& d) {
  PRAXINO_UNROLL
  for (int i = 0; i < N / 2; ++i) d.v[i] = 0;
}

/// Writes the warpgroup's rows, scaled by row (two of each thread), by way of its rows of a tile
/// that it alone reads, and that none of its products reads any more. Rows outside of the tensor
/// are left out. The warpgroup's first thread stores, as one group.
template <int kWidth>
PRAXINO_DEVICE void begin_store_rows(const Accumulator<kWidth>& d, const float (&factor)[2],
                                     char* tile, int rows, const TileMap& map, int token, int head,
                                     int batch, Site site = PRAXINO_HERE) {
  const int worker = thread_index() / kWarpgroup - 1, lane = thread_index() % kWarpgroup;
  const int row = worker * kTileRows;
  sync_named(1 + worker, kWarpgroup, site);  // the products of all four warps have read it
  PRAXINO_UNROLL
  for (int i = 0; i < kWidth / 2; i += 2) {
    const FragmentSpot spot = warpgroup_d(lane, i);
    const float scale = factor[i / 2 % 2];
    auto* to = reinterpret_cast<uint32_t*>(tile + boxed_offset(row + spot.row, spot.column, rows));
    store_raw(to, pack_bf16(d.v[i] * scale, d.v[i + 1] * scale), site);
  }
  fence_async(site);
  sync_named(1 + worker, kWarpgroup, site);
  if (lane == 0) {
    PRAXINO_UNROLL
    for (int column = 0; column < kWidth; column += kBoxColumns) {
      store_tile<4>(map, Corner{{column, token + row, head, batch}},
                    tile + boxed_offset(row, column, rows), site);
    }
    commit_stores();
  }
}

/// The same; the thread that stored waits until the tile has been read.
template <int kWidth>
PRAXINO_DEVICE void store_rows(const Accumulator<kWidth>& d, const float (&factor)[2], char* tile,
                               int rows, const TileMap& map, int token, int head, int batch,
                               Site site = PRAXINO_HERE) {
  begin_store_rows(d, factor, tile, rows, map, token, head, batch, site);
  if (thread_index() % kWarpgroup == 0) wait_stores_read<0>(site);
}

/// One arrival a warp, for all that its lanes have read.
PRAXINO_DEVICE void release(Barrier* barrier, Site site = PRAXINO_HERE) {
  sync_warp(kFullWarp, site);
  if (lane_index() == 0) arrive(barrier, site);
}

/// The parity of a ring's round in which `index` is filled; who fills waits for the other.
PRAXINO_DEVICE uint32_t parity_of(int index) { return static_cast<uint32_t>(index / kStages % 2); }

/// A ring of stages: how many arrive at a full one, beside the warps that empty it. By one thread.
PRAXINO_DEVICE void init_ring(Barrier* full, int arrivals, Barrier* empty) {
  for (int stage = 0; stage < kStages; ++stage) {
    init_barrier(full + stage, arrivals);
    init_barrier(empty + stage, kWorkerWarps);
  }
}

/// The block's warpgroups go their ways, each with its share of registers. `init`, by one thread,
/// initialises barriers before.
template <int kOfLoader = kLoaderRegisters, int kOfWorker = kWorkerRegisters, class Init,
          class Load, class Work>
PRAXINO_DEVICE void take_roles(Init init, Load load, Work work) {
  if (thread_index() == 0) {
    init();
    fence_barrier_init();
  }
  sync_block();
  if (thread_index() < kLoaders) {
    give_back_registers<kOfLoader>();
    load();
  } else {
    take_registers<kOfWorker>();
    work();
  }
}

/// Host code: tokens x width of each head, in boxes of `rows` tokens x 64.
inline Status make_head_map(TileMap& to, const void* data, const HeadStrides& strides,
                            const AttentionShape& s, int64_t tokens, int64_t heads, int rows) {
  // The copy engine wants a stride where there is but one of a kind, too.
  const auto stride = [](int64_t count, int64_t own) { return count == 1 ? 8 : own; };
  return make_tile_map(to,
                       {.data = const_cast<void*>(data),
                        .dimensions = 4,
                        .sizes = {s.width, tokens, heads, s.batch},
                        .strides = {1, stride(tokens, strides.token), stride(heads, strides.head),
                                    stride(s.batch, strides.batch)},
                        .box = {kBoxColumns, rows, 1, 1},
                        .swizzled = true});
}

}  // namespace praxino::kernels::device
