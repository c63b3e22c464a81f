#include "kernels/code_sums.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/thread.cuh"
#include "kernels/device/warp.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int64_t kMost = int64_t{1} << 20;

PRAXINO_DEVICE float* part_of(const CodeSums& p, int64_t chunk, int place) {
  return p.workspace + (2 * chunk + place) * p.width;
}

// Columns [base, base + 32 kColumns) of the run that a warp has summed up go where they belong.
template <int kColumns>
PRAXINO_DEVICE void leave_run(const CodeSums& p, int64_t begin, int64_t end, int64_t code,
                              int64_t base, const float (&sum)[kColumns]) {
  if (code < 0 || code >= p.codes) return;
  const int place = place_of_run(begin, end, p.rows);
  float* to = place < 0 ? p.sums + code * p.width : part_of(p, begin / kRunChunk, place);
  PRAXINO_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    const int64_t column = base + c * kWarp + lane_index();
    if (column < p.width) store(to + column, sum[c]);
  }
}

// A warp a chunk and 32 kColumns columns: the sum of each of its runs, kAhead rows on their way at
// a time.
template <class T, int kColumns, int kAhead>
PRAXINO_KERNEL(kThreads)
sum_runs_kernel(CodeSums p) {
  const int64_t passes = (p.width + kWarp * kColumns - 1) / (kWarp * kColumns);
  const int64_t all = run_chunks(p.rows) * passes;
  for (int64_t i = block_index() * kWarps + warp_index(); i < all; i += grid_blocks() * kWarps) {
    const int64_t chunk = i / passes, base = (i - chunk * passes) * kWarp * kColumns;
    const int64_t first = chunk * kRunChunk, left = p.rows - first;
    const int64_t end = first + (left < kRunChunk ? left : kRunChunk);
    float sum[kColumns] = {};
    int64_t begin = first, code = load(p.sorted + first);
    for (int64_t some = first; some < end; some += kAhead) {
      int64_t codes[kAhead];
      float values[kAhead][kColumns];
      PRAXINO_UNROLL
      for (int r = 0; r < kAhead; ++r) {
        const int64_t at = some + r < end ? some + r : end - 1;
        codes[r] = load(p.sorted + at);
        const T* row = static_cast<const T*>(p.x) + load(p.order + at) * p.width;
        PRAXINO_UNROLL
        for (int c = 0; c < kColumns; ++c) {
          const int64_t column = base + c * kWarp + lane_index();
          values[r][c] = column < p.width ? load(row + column) : 0.0F;
        }
      }
      PRAXINO_UNROLL
      for (int r = 0; r < kAhead; ++r) {
        if (some + r >= end) continue;
        if (codes[r] != code) {
          leave_run(p, begin, some + r, code, base, sum);
          begin = some + r;
          code = codes[r];
          PRAXINO_UNROLL
          for (int c = 0; c < kColumns; ++c) sum[c] = 0;
        }
        PRAXINO_UNROLL
        for (int c = 0; c < kColumns; ++c) sum[c] += values[r][c];
      }
    }
    leave_run(p, begin, end, code, base, sum);
  }
}

// The first row whose code is not below `code`.
PRAXINO_DEVICE int64_t first_row_of(const CodeSums& p, int64_t code) {
  int64_t low = 0, high = p.rows;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (load(p.sorted + middle) < code) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// A warp a code: its count, and its parts in the order of their chunks.
PRAXINO_KERNEL(kThreads) add_runs_kernel(CodeSums p) {
  for (int64_t code = block_index() * kWarps + warp_index(); code < p.codes;
       code += grid_blocks() * kWarps) {
    // One half of the warp looks for the first row, the other for the last: they wait together.
    const bool of_end = lane_index() >= kWarp / 2;
    const int64_t own = first_row_of(p, code + (of_end ? 1 : 0));
    const auto other = static_cast<int64_t>(shuffle_xor(static_cast<double>(own), kWarp / 2));
    const int64_t begin = of_end ? other : own, end = of_end ? own : other;
    if (lane_index() == 0) store(p.counts + code, end - begin);
    const RunParts parts = parts_of_run(begin, end, p.rows);
    if (end > begin && !parts.in_parts) continue;
    for (int64_t column = lane_index(); column < p.width; column += kWarp) {
      float sum = 0;
      for (int64_t chunk = parts.first; parts.in_parts && chunk <= parts.last; ++chunk)
        sum += load(part_of(p, chunk, place_in_chunk(begin, chunk)) + column);
      store(p.sums + code * p.width + column, sum);
    }
  }
}

template <class T>
Status launch_sum_runs(const CodeSums& p, Stream stream) {
  const bool narrow = p.width <= 2 * kWarp;
  const int64_t columns = kWarp * (narrow ? 2 : 8), passes = (p.width + columns - 1) / columns;
  const int64_t blocks = (run_chunks(p.rows) * passes + kWarps - 1) / kWarps;
  return launch(narrow ? sum_runs_kernel<T, 2, 8> : sum_runs_kernel<T, 8, 4>,
                {"sum_runs", blocks_for(blocks), kThreads}, p, stream);
}

}  // namespace

Status launch_code_sums(const CodeSums& p, Stream stream) {
  if (p.rows < 0 || p.codes < 1 || p.width < 1 || p.codes > kMost || p.width > kMost ||
      p.rows > INT64_MAX / 64 / p.width) {
    return kRefused;
  }
  if (p.rows > 0) {
    const Status status = p.element == Element::kFloat ? launch_sum_runs<float>(p, stream)
                                                       : launch_sum_runs<Bf16>(p, stream);
    if (!status.ok()) return status;
  }
  return launch(add_runs_kernel,
                {"add_runs", blocks_for((p.codes + kWarps - 1) / kWarps), kThreads}, p, stream);
}

}  // namespace praxino::kernels
