#pragma once
// Sums over the rows of a frame (kernels/frame_rows.h): where a block leaves those of its chunk,
// and the passes that add the chunks up in a fixed order: each warp a run of neighbours, then the
// warps of a block; long frames in groups first.

#include "kernels/frame_rows.h"
#include "kernels/launch.h"

namespace praxino::kernels {

inline constexpr int kMaxSums = 2;

/// The sums of each frame: sum s is results[s], frames x width.
struct ChunkSums {
  float* results[kMaxSums] = {};
  float* workspace = nullptr;  // chunk_workspace(shape, sums) floats
  int sums = 0;
  FrameRows shape;
};

// Indexed by constants: a kernel would copy the array to its stack for any other index.
constexpr PRAXINO_HOST_DEVICE float* frame_sum(const ChunkSums& p, int sum) {
  return sum == 0 ? p.results[0] : p.results[1];
}

/// Where sum `sum` of chunk `number` belongs: `width` floats.
constexpr PRAXINO_HOST_DEVICE float* chunk_row(const ChunkSums& p, int64_t number, int sum) {
  if (chunks_of_frame(p.shape) == 1) return frame_sum(p, sum) + number * p.shape.width;
  return p.workspace + (number * p.sums + sum) * p.shape.width;
}

/// Where sum `sum` of group `number` belongs: behind the chunks, or in the result where the group
/// is the frame.
constexpr PRAXINO_HOST_DEVICE float* group_row(const ChunkSums& p, int64_t number, int sum) {
  if (groups_of_frame(p.shape) == 1) return frame_sum(p, sum) + number * p.shape.width;
  const int64_t row = (all_chunks(p.shape) + number) * p.sums + sum;
  return p.workspace + row * p.shape.width;
}

/// The further passes; nothing where a frame is one chunk. Thread-safe.
Status launch_add_chunks(const ChunkSums& params, Stream stream);

}  // namespace praxino::kernels
