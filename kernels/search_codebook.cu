// Candidates for the nearest entry: a matrix product whose tiles are looked at and forgotten.
#include "kernels/best_codes.h"
#include "kernels/device/copy_async.cuh"
#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/mma.cuh"
#include "kernels/device/warp.cuh"
#include "kernels/nearest_code.h"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kTilesOfWarp = 2;  // of 16 rows
constexpr int kWarpRows = 16 * kTilesOfWarp;

// Two neighbouring elements of a row, rounded, in one word; zeros beyond the ends.
PRAXINO_DEVICE uint32_t load_pair(const float* row, int column) {
  return pack_bf16(load(row + column), load(row + column + 1));
}
PRAXINO_DEVICE uint32_t load_pair(const Bf16* row, int column) {
  return load(reinterpret_cast<const uint32_t*>(row + column));
}

// Rows beyond the last are the last once more: nobody asks for their results.
template <class T, int kSteps>
PRAXINO_DEVICE void load_rows(const NearestCode& p, int64_t first,
                              FragmentA (&a)[kTilesOfWarp][kSteps]) {
  const FragmentSpot corner = fragment_a(lane_index(), 0);
  const T* rows[2 * kTilesOfWarp];
  PRAXINO_UNROLL
  for (int i = 0; i < 2 * kTilesOfWarp; ++i) {
    const int64_t row = first + corner.row + 8 * i;
    rows[i] =
        static_cast<const T*>(p.x) + (row < p.rows ? row : p.rows - 1) * p.width + corner.column;
  }
  PRAXINO_UNROLL
  for (int step = 0; step < kSteps; ++step) {
    PRAXINO_UNROLL
    for (int i = 0; i < 4 * kTilesOfWarp; ++i) {
      const int tile = i / 4, word = i % 4, column = 16 * step + 8 * (word / 2);
      a[tile][step].word[word] =
          16 * step < p.width ? load_pair(rows[2 * tile + word % 2], column) : 0U;
    }
    // Keeps the compiler from loading all steps at once, for which there are not registers enough.
    sync_warp();
  }
}

// Entries [first, first + a tile) and their half norms to shared memory, while the thread goes on.
template <int kWidth>
PRAXINO_DEVICE void stage_tile(const NearestCode& p, const NearestCodeParts& parts, int64_t first,
                               char* to) {
  constexpr int kCodes = codes_of_tile(kWidth), kUnits = kWidth / 8;
  const char* workspace = static_cast<const char*>(p.workspace);
  const char* book = workspace + parts.book + first * kWidth * 2;
  for (int i = thread_index(); i < kCodes * kUnits; i += kSearchThreads)
    copy_16_async(to + 16 * tile_unit(i / kUnits, i % kUnits, kWidth), book + 16 * i);
  const char* halves = workspace + parts.halves + first * 4;
  if (thread_index() < kCodes / 4)
    copy_16_async(to + kCodes * kWidth * 2 + 16 * thread_index(), halves + 16 * thread_index());
  commit_copies();
}

// 16 entries of a tile against the warp's rows.
template <int kSteps>
PRAXINO_DEVICE void search_entries(const char* tile, int entry, uint32_t code,
                                   const FragmentA (&a)[kTilesOfWarp][kSteps],
                                   BestCodes (&best)[kTilesOfWarp][2]) {
  constexpr int kWidth = 16 * kSteps, kCodes = codes_of_tile(kWidth);
  const float* halves = reinterpret_cast<const float*>(tile + kCodes * kWidth * 2) + entry;
  FragmentC score[kTilesOfWarp][2];
  PRAXINO_UNROLL
  for (int part = 0; part < 2; ++part) {
    PRAXINO_UNROLL
    for (int i = 0; i < 2; ++i) {
      const float half = load(halves + 8 * part + fragment_c(lane_index(), i).column);
      PRAXINO_UNROLL
      for (int rows = 0; rows < kTilesOfWarp; ++rows)
        score[rows][part].v[i] = score[rows][part].v[i + 2] = half;
    }
  }
  const FragmentSpot from = matrix_row_of_b(lane_index());
  PRAXINO_UNROLL
  for (int step = 0; step < kSteps; ++step) {
    const int unit = 2 * step + from.column / 8;
    const Pairs<4> words = load_matrices<4>(tile + 16 * tile_unit(entry + from.row, unit, kWidth));
    PRAXINO_UNROLL
    for (int part = 0; part < 2; ++part) {
      const FragmentB b{{words.word[2 * part], words.word[2 * part + 1]}};
      PRAXINO_UNROLL
      for (int rows = 0; rows < kTilesOfWarp; ++rows)
        multiply_add(score[rows][part], a[rows][step], b);
    }
  }
  const uint32_t own = code + static_cast<uint32_t>(fragment_c(lane_index(), 0).column);
  PRAXINO_UNROLL
  for (int rows = 0; rows < kTilesOfWarp; ++rows) {
    PRAXINO_UNROLL
    for (int half = 0; half < 2; ++half) {
      const float *left = score[rows][0].v + 2 * half, *right = score[rows][1].v + 2 * half;
      BestCodes& of_row = best[rows][half];
      // Seldom after the first tiles.
      const float a0 = left[0] > left[1] ? left[0] : left[1];
      const float a1 = right[0] > right[1] ? right[0] : right[1];
      if (!(a0 > of_row.third) && !(a1 > of_row.third)) continue;
      insert(of_row, left[0], own);
      insert(of_row, left[1], own + 1);
      insert(of_row, right[0], own + 8);
      insert(of_row, right[1], own + 9);
    }
  }
}

template <class T, int kSteps>
PRAXINO_KERNEL(kSearchThreads)
search_codebook_kernel(NearestCode p) {
  constexpr int kWidth = 16 * kSteps, kCodes = codes_of_tile(kWidth);
  constexpr auto kTile = static_cast<int>(tile_bytes(kWidth));
  const NearestCodeParts parts = nearest_code_parts(p.rows, p.codes, p.width);
  char* shared = reinterpret_cast<char*>(shared_floats());
  const int64_t tiles = (p.codes + kCodes - 1) / kCodes;
  // A block has its rows and no loop over others: the loop would cost registers.
  const int64_t first = block_index() * kSearchRows + warp_index() * kWarpRows;
  FragmentA a[kTilesOfWarp][kSteps];
  load_rows<T>(p, first, a);
  constexpr float kLowest = float_of(0xff800000U);
  BestCodes best[kTilesOfWarp][2];
  PRAXINO_UNROLL
  for (int i = 0; i < 2 * kTilesOfWarp; ++i) best[i / 2][i % 2] = {kLowest, kLowest, kLowest, 0, 0};
  stage_tile<kWidth>(p, parts, 0, shared);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const char* here = shared + tile % 2 * kTile;
    if (tile + 1 < tiles) {
      stage_tile<kWidth>(p, parts, (tile + 1) * kCodes, shared + (tile + 1) % 2 * kTile);
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
    sync_block();
    if (first < p.rows) {
      for (int entry = 0; entry < kCodes; entry += 16)
        search_entries(here, entry, static_cast<uint32_t>(tile * kCodes + entry), a, best);
    }
    sync_block();  // before the tile is overwritten
  }
  PRAXINO_UNROLL
  for (int i = 0; i < 2 * kTilesOfWarp; ++i) {
    const FragmentSpot spot = fragment_c(lane_index(), 2 * (i % 2));
    const int64_t row = first + 16 * (i / 2) + spot.row;
    if (row >= p.rows) continue;
    const BestCodes& of_row = best[i / 2][i % 2];
    char* list = static_cast<char*>(p.workspace) + parts.lists +
                 16 * (row * kListsOfRow + lane_index() % kListsOfRow);
    store_vector(reinterpret_cast<float*>(list),
                 Vector<4>{{of_row.first, of_row.second, of_row.third,
                            float_of(of_row.first_code | of_row.second_code << 16)}});
  }
}

template <class T>
auto kernel_of(int padded_width) {
  switch (padded_width) {
    case 32: return search_codebook_kernel<T, 2>;
    case 64: return search_codebook_kernel<T, 4>;
    case 128: return search_codebook_kernel<T, 8>;
    default: return search_codebook_kernel<T, 16>;
  }
}

}  // namespace

Status launch_search_codebook(const NearestCode& p, Stream stream) {
  const int padded = padded_code_width(p.width);
  const int64_t blocks = (p.rows + kSearchRows - 1) / kSearchRows;
  return launch(
      p.element == Element::kFloat ? kernel_of<float>(padded) : kernel_of<Bf16>(padded),
      {"search_codebook", blocks, kSearchThreads, static_cast<size_t>(2 * tile_bytes(padded))}, p,
      stream);
}

}  // namespace praxino::kernels
