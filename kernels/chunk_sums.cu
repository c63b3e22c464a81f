#include "kernels/chunk_sums.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/thread.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

PRAXINO_KERNEL(kRowThreads) add_chunks_kernel(ChunkSums p) {
  const int64_t chunks = chunks_of_frame(p.shape), width = p.shape.width;
  const int64_t results = p.shape.frames * p.sums * width;
  for (int64_t i = block_index() * kRowThreads + thread_index(); i < results;
       i += grid_blocks() * kRowThreads) {
    const int64_t row = i / width, column = i - row * width;
    const int64_t frame = row / p.sums;
    const int which = static_cast<int>(row - frame * p.sums);
    float sum = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk)
      sum += load(chunk_row(p, frame * chunks + chunk, which) + column);
    store(frame_sum(p, which) + frame * width + column, sum);
  }
}

}  // namespace

Status launch_add_chunks(const ChunkSums& p, Stream stream) {
  if (p.sums < 1 || p.sums > kMaxSums || !in_range(p.shape)) return kRefused;
  const int64_t results = p.shape.frames * p.sums * p.shape.width;
  if (results == 0 || chunks_of_frame(p.shape) == 1) return {};
  const int64_t blocks = blocks_for((results + kRowThreads - 1) / kRowThreads);
  return launch(add_chunks_kernel, {"add_chunks", blocks, kRowThreads}, p, stream);
}

}  // namespace praxino::kernels
