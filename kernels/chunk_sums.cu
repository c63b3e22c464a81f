#include "kernels/chunk_sums.h"

#include "kernels/device/launch.cuh"
#include "kernels/device/memory.cuh"
#include "kernels/device/thread.cuh"

namespace praxino::kernels {
namespace {

using namespace device;

// Loads that a thread has under way.
constexpr int kAtOnce = 16;

// What a launch adds to its parameters.
struct AddChunks {
  ChunkSums p;
  AddTeam team;
  Divisor slabs;  // of `columns` columns, of all sums of a frame
};

// A block takes a frame and a slab: the sums of a chunk lie side by side.
PRAXINO_KERNEL(kAddThreads) add_chunks_kernel(AddChunks q) {
  const ChunkSums& p = q.p;
  const auto [lanes, columns] = q.team;
  const int64_t width = p.shape.width, stride = p.sums * width;
  const int64_t chunks = chunks_of_frame(p.shape);
  const int lane = thread_index() / columns;
  for (int64_t i = block_index(); i < p.shape.frames * q.slabs.by(); i += grid_blocks()) {
    const int64_t frame = q.slabs.quotient(i);
    const int64_t column = (i - frame * q.slabs.by()) * columns + thread_index() % columns;
    const bool exists = column < stride;
    const float* from = p.workspace + frame * chunks * stride + column;
    float sum = 0;
    for (int64_t first = lane; exists && first < chunks; first += kAtOnce * lanes) {
      float part[kAtOnce];
      PRAXINO_UNROLL
      for (int j = 0; j < kAtOnce; ++j) {
        const int64_t chunk = first + j * lanes;
        part[j] = chunk < chunks ? load(from + chunk * stride) : 0.0F;
      }
      PRAXINO_UNROLL
      for (int j = 0; j < kAtOnce; ++j) sum += part[j];
    }
    if (lanes > 1) {
      store(shared_floats() + thread_index(), sum);
      sync_block();
      sum = 0;
      for (int other = 0; lane == 0 && other < lanes; ++other)
        sum += load(shared_floats() + other * columns + thread_index());
      sync_block();  // the next slab is written where this one is read
    }
    if (lane != 0 || !exists) continue;
    const int which = column < width ? 0 : column < 2 * width ? 1 : 2;
    store(frame_sum(p, which) + frame * width + column - which * width, sum);
  }
}

}  // namespace

Status launch_add_chunks(const ChunkSums& p, Stream stream) {
  if (p.sums < 1 || p.sums > kMaxSums || !in_range(p.shape)) return kRefused;
  if (p.shape.frames == 0 || chunks_of_frame(p.shape) == 1) return {};
  const AddTeam team = add_team(p.shape);
  const Divisor slabs((p.sums * p.shape.width + team.columns - 1) / team.columns);
  return launch(add_chunks_kernel,
                {"add_chunks", blocks_for(p.shape.frames * slabs.by()), kAddThreads,
                 team.lanes > 1 ? kAddThreads * sizeof(float) : 0},
                AddChunks{p, team, slabs}, stream);
}

}  // namespace praxino::kernels
