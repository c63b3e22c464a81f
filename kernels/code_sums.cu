#include "kernels/code_sums.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/thread.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kColumns = 8;  // of a lane in one pass
constexpr int64_t kMost = int64_t{1} << 20;

PRAXINO_DEVICE float* part_of(const CodeSums& p, int64_t chunk, int place) {
  return p.workspace + (2 * chunk + place) * p.width;
}

// A warp a chunk and columns [base, base + 256): the sum of each of its runs.
template <class T>
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
    for (int64_t at = first; at < end; ++at) {
      const T* row = static_cast<const T*>(p.x) + load(p.order + at) * p.width;
      PRAXINO_UNROLL
      for (int c = 0; c < kColumns; ++c) {
        const int64_t column = base + c * kWarp + lane_index();
        if (column < p.width) sum[c] += load(row + column);
      }
      const int64_t next = at + 1 < end ? load(p.sorted + at + 1) : -1;
      if (next == code) continue;
      const int place = place_of_run(begin, at + 1, p.rows);
      float* to = place < 0 ? p.sums + code * p.width : part_of(p, chunk, place);
      PRAXINO_UNROLL
      for (int c = 0; c < kColumns; ++c) {
        const int64_t column = base + c * kWarp + lane_index();
        if (column < p.width) store(to + column, sum[c]);
        sum[c] = 0;
      }
      begin = at + 1;
      code = next;
    }
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
    const int64_t begin = first_row_of(p, code), end = first_row_of(p, code + 1);
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

}  // namespace

Status launch_code_sums(const CodeSums& p, Stream stream) {
  if (p.rows < 0 || p.codes < 1 || p.width < 1 || p.codes > kMost || p.width > kMost ||
      p.rows > INT64_MAX / 64 / p.width) {
    return kRefused;
  }
  if (p.rows > 0) {
    const int64_t passes = (p.width + kWarp * kColumns - 1) / (kWarp * kColumns);
    const int64_t blocks = (run_chunks(p.rows) * passes + kWarps - 1) / kWarps;
    const Status status =
        launch(p.element == Element::kFloat ? sum_runs_kernel<float> : sum_runs_kernel<Bf16>,
               {"sum_runs", blocks_for(blocks), kThreads}, p, stream);
    if (!status.ok()) return status;
  }
  return launch(add_runs_kernel,
                {"add_runs", blocks_for((p.codes + kWarps - 1) / kWarps), kThreads}, p, stream);
}

}  // namespace praxino::kernels
