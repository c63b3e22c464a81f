#pragma once
// Sums over the rows of a frame (kernels/frame_rows.h): where a block leaves those of its chunk,
// and the pass that adds the chunks up in a fixed order: each lane every so many-th one, then the
// lanes.

#include "kernels/frame_rows.h"
#include "kernels/launch.h"

namespace praxino::kernels {

inline constexpr int kMaxSums = 3;

/// The sums of each frame: sum s is results[s], frames x width.
struct ChunkSums {
  float* results[kMaxSums] = {};
  float* workspace = nullptr;  // chunk_workspace(shape, sums) floats
  int sums = 0;
  FrameRows shape;
};

// Indexed by constants: a kernel would copy the array to its stack for any other index.
constexpr PRAXINO_HOST_DEVICE float* frame_sum(const ChunkSums& p, int sum) {
  return sum == 0 ? p.results[0] : sum == 1 ? p.results[1] : p.results[2];
}

/// Where sum `sum` of chunk `number` belongs: `width` floats.
constexpr PRAXINO_HOST_DEVICE float* chunk_row(const ChunkSums& p, int64_t number, int sum) {
  if (chunks_of_frame(p.shape) == 1) return frame_sum(p, sum) + number * p.shape.width;
  return p.workspace + (number * p.sums + sum) * p.shape.width;
}

/// The second pass; nothing where a frame is one chunk. Thread-safe.
Status launch_add_chunks(const ChunkSums& params, Stream stream);

}  // namespace praxino::kernels
