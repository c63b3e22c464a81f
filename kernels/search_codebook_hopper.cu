// Candidates for the nearest entry on Hopper: scores by warpgroup products, looked at while the
// next ones are computed.
#include "kernels/best_codes.h"
#include "kernels/device/launch.cuh"
#include "kernels/device/math.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/tile_map.cuh"
#include "kernels/device/warp.cuh"
#include "kernels/device/wgmma.cuh"
#include "kernels/nearest_code_hopper.h"

namespace praxino::kernels {
namespace {

using namespace device;

// A warpgroup loads, two compute, each for two tiles of 64 rows.
constexpr int kWorkers = 2, kThreads = (1 + kWorkers) * kWarpgroup;
constexpr int kWorkerRows = 2 * kTileRows, kRows = kWorkers * kWorkerRows;
constexpr int kLoaderRegisters = 24, kWorkerRegisters = 240;
static_assert(kWarpgroup * (kLoaderRegisters + kWorkers * kWorkerRegisters) <= 65536);
constexpr float kLowest = float_of(0xff800000U);

struct Search {
  TileMap book, halves;
  NearestCode p;
};

// The block's shared memory. Tiles begin at multiples of kSwizzleBytes.
template <int kWidth>
struct Shared {
  static constexpr int kCodes = kWidth <= 128 ? 128 : 64;  // of a tile
  static constexpr int kStages = kWidth == 64 ? 4 : kWidth == 128 ? 3 : 2;
  static constexpr int kRowBytes = 2 * kRows * kWidth, kTile = 2 * kCodes * kWidth;
  char* rows;
  char* entries;
  float* halves;
  float* margins;  // of the rows
  Barrier* full;
  Barrier* empty;
  PRAXINO_DEVICE Shared() {
    rows = reinterpret_cast<char*>(shared_floats());
    entries = rows + kRowBytes;
    halves = reinterpret_cast<float*>(entries + kStages * kTile);
    margins = halves + kStages * kCodes;
    full = reinterpret_cast<Barrier*>(margins + kRows);
    empty = full + kStages;
  }
  static constexpr size_t kBytes = size_t{kRowBytes} + size_t{kStages} * (kTile + 4 * kCodes) +
                                   sizeof(float) * kRows + sizeof(Barrier) * 2 * kStages;
};

template <int kWidth>
PRAXINO_DEVICE void load_entries(const Search& search, const Shared<kWidth>& shared, int tiles) {
  using S = Shared<kWidth>;
  if (thread_index() != 0) return;
  for (int tile = 0; tile < tiles; ++tile) {
    const int stage = tile % S::kStages, first = tile * S::kCodes;
    wait(shared.empty + stage, static_cast<uint32_t>(tile / S::kStages % 2) ^ 1U);
    arrive_and_expect(shared.full + stage, S::kTile + 4 * S::kCodes);
    PRAXINO_UNROLL
    for (int column = 0; column < kWidth; column += kBoxColumns) {
      load_tile<2>(shared.entries + stage * S::kTile + boxed_offset(0, column, S::kCodes),
                   search.book, Corner{{column, first}}, shared.full + stage);
    }
    load_tile<2>(shared.halves + stage * S::kCodes, search.halves, Corner{{first, 0}},
                 shared.full + stage);
  }
}

// How far below the best score of its row a score may lie and still be that of the nearest entry:
// no less than the decision's own bound, for which sums of squares in float are good enough.
PRAXINO_DEVICE float margin_of(float squares, float moved_squares, const CodebookBounds& book,
                               int64_t width) {
  const auto length = [](float sum) { return static_cast<double>(sqrt_fast(sum)) + 0x1p-58; };
  constexpr double kSlack = 1.05;
  return static_cast<float>(2 * kSlack *
                            score_error(length(squares), length(moved_squares), book, width));
}

// The warpgroup's rows, rounded, and their margins to shared memory. Rows beyond the last are the
// last once more: nobody asks for their results.
template <class T, int kWidth>
PRAXINO_DEVICE void stage_rows(const NearestCode& p, const Shared<kWidth>& shared) {
  constexpr int kLanes = kWidth / 8, kAtOnce = kWarpgroup / kLanes, kLoads = 4;
  const int worker = thread_index() / kWarpgroup - 1, lane = thread_index() % kWarpgroup;
  const int column = lane % kLanes * 8;
  const NearestCodeParts parts = nearest_code_parts(p.rows, p.codes, p.width);
  const auto bounds = load_vector<4>(
      reinterpret_cast<const float*>(static_cast<const char*>(p.workspace) + parts.bounds));
  const CodebookBounds book{bounds.v[0], bounds.v[1], bounds.v[2], 0};
  PRAXINO_NO_UNROLL
  for (int several = 0; several < kWorkerRows; several += kLoads * kAtOnce) {
    PRAXINO_UNROLL
    for (int first = several; first < several + kLoads * kAtOnce; first += kAtOnce) {
      const int row = worker * kWorkerRows + first + lane / kLanes;
      const int64_t at = block_index() * kRows + row;
      const T* x = static_cast<const T*>(p.x) + (at < p.rows ? at : p.rows - 1) * p.width + column;
      Vector<8> value = {};
      if (column < p.width) value = load_vector<8>(x);
      float squares = 0, moved_squares = 0;
      PRAXINO_UNROLL
      for (int i = 0; i < 8; ++i) {
        const float rounded = to_float(Bf16{static_cast<uint16_t>(pack_bf16(value.v[i], 0.0F))});
        const float moved = value.v[i] - rounded;
        squares += value.v[i] * value.v[i];
        moved_squares += moved * moved;
      }
      squares = group_sum(squares, kLanes);
      moved_squares = group_sum(moved_squares, kLanes);
      store_vector(reinterpret_cast<Bf16*>(shared.rows + boxed_offset(row, column, kRows)), value);
      if (column == 0)
        store(shared.margins + row, margin_of(squares, moved_squares, book, p.width));
    }
  }
}

// Scores of 64 of the rows against a tile of entries, but for the half norms.
template <int kWidth>
PRAXINO_DEVICE void begin_scores(Accumulator<Shared<kWidth>::kCodes>& score,
                                 const Shared<kWidth>& shared, int row, int stage) {
  using S = Shared<kWidth>;
  const uint32_t rows = shared_address(shared.rows),
                 entries = shared_address(shared.entries + stage * S::kTile);
  PRAXINO_UNROLL
  for (int step = 0; step < kWidth / kTileDepth; ++step) {
    multiply_tiles<Major::kDepth, Major::kDepth>(
        score, operand_tile(rows, Major::kDepth, kRows, row, step),
        operand_tile(entries, Major::kDepth, S::kCodes, 0, step), step > 0);
  }
  commit_products();
}

// One of the rows of which a thread has a part.
struct Row {
  float best;    // score of all four lanes
  float margin;  // what lies further below is not the nearest
  BestCodes list;
};

constexpr int kGroup = 8;  // scores of a row that are looked at together

// Those of a group that may be the nearest to the row's list; seldom more than one.
template <int N>
PRAXINO_DEVICE void insert_group(const Accumulator<N>& score, int half, int group, uint32_t code,
                                 float lowest, BestCodes& list) {
  uint32_t left = 0;
  PRAXINO_UNROLL
  for (int i = 0; i < kGroup; ++i) {
    const float value = score.v[4 * (kGroup / 2 * group + i / 2) + 2 * half + i % 2];
    left |= value >= lowest ? 1U << i : 0U;
  }
  while (left != 0) {
    float value = 0;
    uint32_t column = 0;
    PRAXINO_UNROLL
    for (int i = kGroup - 1; i >= 0; --i) {
      const bool here = (left >> i & 1U) != 0;
      value = here ? score.v[4 * (kGroup / 2 * group + i / 2) + 2 * half + i % 2] : value;
      column = here ? static_cast<uint32_t>(8 * (i / 2) + i % 2) : column;
    }
    insert(list, value, code + static_cast<uint32_t>(8 * (kGroup / 2) * group) + column);
    left &= left - 1;
  }
}

// `code`: of the tile's first column of this thread.
template <int N>
PRAXINO_DEVICE void take_scores(Accumulator<N>& score, const float* halves, uint32_t code,
                                Row (&rows)[2]) {
  constexpr int kGroups = N / 4 / kGroup;
  const int column = warpgroup_d(thread_index() % kWarpgroup, 0).column;
  float top[2][kGroups];
  PRAXINO_UNROLL
  for (int i = 0; i < N / 2; i += 4) {
    const int group = i / (2 * kGroup);
    const Vector<2> add = load_pair(halves + 2 * i + column);
    PRAXINO_UNROLL
    for (int half = 0; half < 2; ++half) {
      float* v = score.v + i + 2 * half;
      v[0] += add.v[0];
      v[1] += add.v[1];
      const float larger = fmaxf(v[0], v[1]);
      top[half][group] = i % (2 * kGroup) == 0 ? larger : fmaxf(top[half][group], larger);
    }
  }
  PRAXINO_UNROLL
  for (int half = 0; half < 2; ++half) {
    Row& row = rows[half];
    float own = top[half][0];
    PRAXINO_UNROLL
    for (int group = 1; group < kGroups; ++group) own = fmaxf(own, top[half][group]);
    float most = fmaxf(own, shuffle_xor(own, 1));
    most = fmaxf(most, shuffle_xor(most, 2));
    row.best = fmaxf(row.best, most);
    const float lowest = row.best - row.margin;
    if (!(own >= lowest)) continue;  // as nearly always after the first tiles
    PRAXINO_UNROLL
    for (int group = 0; group < kGroups; ++group) {
      if (top[half][group] >= lowest) insert_group(score, half, group, code, lowest, row.list);
    }
  }
}

// While a tile's scores of one half of the rows are looked at, those of the other are under way,
// and the other warpgroup's while those are.
template <class T, int kWidth>
PRAXINO_DEVICE void search_rows(const Search& search, const Shared<kWidth>& shared, int tiles) {
  using S = Shared<kWidth>;
  const NearestCode& p = search.p;
  const int worker = thread_index() / kWarpgroup - 1, lane = thread_index() % kWarpgroup;
  const int first = worker * kWorkerRows;
  stage_rows<T>(p, shared);
  fence_async();
  sync_named(1 + worker, kWarpgroup);
  Row rows[2][2];
  PRAXINO_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int row = first + i / 2 * kTileRows + warpgroup_d(lane, 2 * (i % 2)).row;
    rows[i / 2][i % 2] = {kLowest, load(shared.margins + row), {kLowest, kLowest, kLowest, 0, 0}};
  }
  const auto own_code = static_cast<uint32_t>(warpgroup_d(lane, 0).column);
  Accumulator<S::kCodes> upper, lower;
  PRAXINO_NO_UNROLL
  for (int tile = 0; tile < tiles; ++tile) {
    const int stage = tile % S::kStages;
    const float* halves = shared.halves + stage * S::kCodes;
    const uint32_t code = static_cast<uint32_t>(tile * S::kCodes) + own_code;
    wait(shared.full + stage, static_cast<uint32_t>(tile / S::kStages % 2));
    fence_products(upper, lower);
    begin_scores(upper, shared, first, stage);
    begin_scores(lower, shared, first + kTileRows, stage);
    wait_products<1>(upper);
    take_scores(upper, halves, code, rows[0]);
    wait_products<0>(lower);
    take_scores(lower, halves, code, rows[1]);
    sync_warp();
    if (lane_index() == 0) arrive(shared.empty + stage);
  }
  const NearestCodeParts parts = nearest_code_parts(p.rows, p.codes, p.width);
  PRAXINO_UNROLL
  for (int i = 0; i < 4; ++i) {
    const int64_t row =
        block_index() * kRows + first + i / 2 * kTileRows + warpgroup_d(lane, 2 * (i % 2)).row;
    if (row >= p.rows) continue;
    const BestCodes& list = rows[i / 2][i % 2].list;
    char* to = static_cast<char*>(p.workspace) + parts.lists +
               16 * (row * kListsOfRow + lane % kListsOfRow);
    store_vector(reinterpret_cast<float*>(to),
                 Vector<4>{{list.first, list.second, list.third,
                            float_of(list.first_code | list.second_code << 16)}});
  }
}

template <class T, int kWidth>
PRAXINO_KERNEL(kThreads, 1)
search_codebook_hopper_kernel(PRAXINO_PARAMETERS Search search) {
#if PRAXINO_HAS_WARPGROUPS
  const Shared<kWidth> shared;
  constexpr int kCodes = Shared<kWidth>::kCodes;
  const int tiles = static_cast<int>((search.p.codes + kCodes - 1) / kCodes);
  if (thread_index() == 0) {
    for (int stage = 0; stage < Shared<kWidth>::kStages; ++stage) {
      init_barrier(shared.full + stage, 1);
      init_barrier(shared.empty + stage, 4 * kWorkers);
    }
    fence_barrier_init();
  }
  sync_block();
  if (thread_index() < kWarpgroup) {
    give_back_registers<kLoaderRegisters>();
    load_entries(search, shared, tiles);
  } else {
    take_registers<kWorkerRegisters>();
    search_rows<T>(search, shared, tiles);
  }
#else
  __trap();
#endif
}

template <class T>
Status launch_rows(const Search& search, Stream stream) {
  const auto launch_width = [&](auto kernel, size_t bytes) {
    return launch(kernel,
                  {"search_codebook_hopper", (search.p.rows + kRows - 1) / kRows, kThreads, bytes},
                  search, stream);
  };
  const int64_t width = search.p.width;
  if (width <= 64) return launch_width(search_codebook_hopper_kernel<T, 64>, Shared<64>::kBytes);
  if (width <= 128) return launch_width(search_codebook_hopper_kernel<T, 128>, Shared<128>::kBytes);
  return launch_width(search_codebook_hopper_kernel<T, 256>, Shared<256>::kBytes);
}

}  // namespace

Status launch_search_codebook_hopper(const NearestCode& p, Stream stream) {
  const NearestCodeParts parts = nearest_code_parts(p.rows, p.codes, p.width);
  const int64_t width = padded_code_width(p.width), count = padded_codes(p.codes);
  const int codes = width <= 128 ? Shared<64>::kCodes : Shared<256>::kCodes;
  char* workspace = static_cast<char*>(p.workspace);
  Search search{.book = {}, .halves = {}, .p = p};
  // Columns beyond the width are zeros in a tile.
  Status status = make_tile_map(search.book, {.data = workspace + parts.book,
                                              .dimensions = 2,
                                              .sizes = {width, count},
                                              .strides = {1, width},
                                              .box = {kBoxColumns, codes},
                                              .swizzled = true});
  if (status.ok()) {
    status = make_tile_map(search.halves, {.data = workspace + parts.halves,
                                           .element = Element::kFloat,
                                           .dimensions = 2,
                                           .sizes = {count, 1},
                                           .strides = {1, count},
                                           .box = {codes, 1}});
  }
  if (!status.ok()) return status;
  return p.element == Element::kFloat ? launch_rows<float>(search, stream)
                                      : launch_rows<Bf16>(search, stream);
}

Status launch_nearest_code_hopper(const NearestCode& p, Stream stream) {
  if (!nearest_code_in_range(p)) return kRefused;
  if (p.rows == 0) return {};
  Status status = launch_prepare_codebook(p, stream);
  if (status.ok()) status = launch_search_codebook_hopper(p, stream);
  if (status.ok()) status = launch_decide_codes(p, stream);
  if (status.ok()) status = launch_search_undecided(p, stream);
  return status;
}

}  // namespace praxino::kernels
