#include "kernels/chunk_sums.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/thread.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

constexpr int kWarps = kRowThreads / kWarp;

// A run of rows to add up, `width` floats each: row i lies at from + i * stride.
struct Run {
  const float* from;
  float* to;
  int64_t rows;
};

// The chunks of group `number`, for one sum.
PRAXINO_DEVICE Run run_of_group(const ChunkSums& p, int64_t number, int sum) {
  const int64_t groups = groups_of_frame(p.shape), chunks = chunks_of_frame(p.shape);
  const int64_t frame = number / groups, first = (number - frame * groups) * kGroupChunks;
  const int64_t left = chunks - first;
  return {chunk_row(p, frame * chunks + first, sum), group_row(p, number, sum),
          left < kGroupChunks ? left : kGroupChunks};
}

// The groups of frame `number`, for one sum.
PRAXINO_DEVICE Run run_of_frame(const ChunkSums& p, int64_t number, int sum) {
  const int64_t groups = groups_of_frame(p.shape);
  return {group_row(p, number * groups, sum), frame_sum(p, sum) + number * p.shape.width, groups};
}

// A block a run and 32 columns of it: a lane a column, a warp a quarter of the rows.
template <bool kGroups>
PRAXINO_KERNEL(kRowThreads)
add_chunks_kernel(ChunkSums p) {
  const int64_t width = p.shape.width, slabs = (width + kWarp - 1) / kWarp;
  const int64_t runs = p.shape.frames * (kGroups ? groups_of_frame(p.shape) : 1);
  const int64_t stride = p.sums * width;
  for (int64_t i = block_index(); i < runs * p.sums * slabs; i += grid_blocks()) {
    const int64_t row = i / slabs, column = (i - row * slabs) * kWarp + lane_index();
    const int64_t number = row / p.sums;
    const int which = static_cast<int>(row - number * p.sums);
    const Run run = kGroups ? run_of_group(p, number, which) : run_of_frame(p, number, which);
    const int64_t share = (run.rows + kWarps - 1) / kWarps, first = warp_index() * share;
    const int64_t last = first + share < run.rows ? first + share : run.rows;
    float sum = 0;
    if (column < width) {
      for (int64_t at = first; at < last; ++at) sum += load(run.from + at * stride + column);
    }
    store(shared_floats() + thread_index(), sum);
    sync_block();
    if (warp_index() == 0 && column < width) {
      sum = 0;
      for (int warp = 0; warp < kWarps; ++warp)
        sum += load(shared_floats() + warp * kWarp + lane_index());
      store(run.to + column, sum);
    }
    sync_block();  // the next run writes where this one reads
  }
}

Status launch_runs(void (*kernel)(ChunkSums), const ChunkSums& p, int64_t runs, Stream stream) {
  const int64_t slabs = (p.shape.width + kWarp - 1) / kWarp;
  return launch(
      kernel,
      {"add_chunks", blocks_for(runs * p.sums * slabs), kRowThreads, kRowThreads * sizeof(float)},
      p, stream);
}

}  // namespace

Status launch_add_chunks(const ChunkSums& p, Stream stream) {
  if (p.sums < 1 || p.sums > kMaxSums || !in_range(p.shape)) return kRefused;
  if (p.shape.frames == 0 || chunks_of_frame(p.shape) == 1) return {};
  const int64_t groups = groups_of_frame(p.shape);
  const Status status = launch_runs(add_chunks_kernel<true>, p, p.shape.frames * groups, stream);
  if (!status.ok() || groups == 1) return status;
  return launch_runs(add_chunks_kernel<false>, p, p.shape.frames, stream);
}

}  // namespace praxino::kernels
