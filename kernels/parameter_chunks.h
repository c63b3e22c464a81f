#pragma once
// How the parameters of an optimizer are spread over blocks: all in one launch, each cut into
// chunks of kChunkElements, a block a chunk. What a step does not change (where parameters and
// moments lie, their sizes and rates) is a table in device memory, written once; the gradients,
// which lie elsewhere after each backward pass, come with the launch.

#include <cstdint>

#include "kernels/host_device.h"
#include "kernels/launch.h"

namespace praxino::kernels {

inline constexpr int kUpdateThreads = 128;  // of a block
inline constexpr int kUpdateVector = 8;     // elements that a thread moves together
// They lie in two halves, this far apart: a warp stores whole sectors of 32 bytes of float, too.
inline constexpr int kHalvesApart = 128;
inline constexpr int kWarpElements = 2 * kHalvesApart;  // that a warp moves together
inline constexpr int64_t kChunkElements = 8192;
inline constexpr int kMostParameters = 448;  // of a launch, whose parameters take at most 4 KiB

/// One parameter and its state: float32, `count` elements each, all in device memory. What is null
/// does not exist.
struct alignas(64) UpdatedParameter {
  float* weight = nullptr;
  float* first = nullptr;    // AdamW's first moment, Muon's momentum
  float* second = nullptr;   // AdamW's second moment
  float* average = nullptr;  // of the weight
  void* copy = nullptr;      // of the weight, for products
  int64_t count = 0;
  int64_t offset = 0;  // of its first element in a buffer of directions
  float rate = 0;      // learning rate, before the factor of the step
  float decay = 0;     // of the weight, relative to the rate
};
static_assert(sizeof(UpdatedParameter) == 64);

/// Chunk `number` of parameter `parameter` of the table.
struct alignas(8) ParameterChunk {
  int32_t parameter = 0;
  int32_t number = 0;
};

/// The tables of a launch, in device memory.
struct ParameterList {
  const UpdatedParameter* parameters = nullptr;
  const ParameterChunk* chunks = nullptr;
  int64_t chunk_count = 0;
};

constexpr bool in_range(const ParameterList& list) {
  if (list.chunk_count < 0) return false;
  return list.chunk_count == 0 || (list.parameters != nullptr && list.chunks != nullptr);
}

/// The gradient of each parameter of the table.
struct GradientList {
  const void* of[kMostParameters] = {};
  Element element = Element::kFloat;  // of all
};

constexpr PRAXINO_HOST_DEVICE int64_t chunks_of_parameter(int64_t count) {
  return (count + kChunkElements - 1) / kChunkElements;
}

/// The elements of a chunk, half-open.
struct ChunkElements {
  int64_t begin;
  int64_t end;
};

constexpr PRAXINO_HOST_DEVICE ChunkElements elements_of(const ParameterChunk& chunk,
                                                        int64_t count) {
  const int64_t begin = chunk.number * kChunkElements;
  const int64_t end = begin + kChunkElements;
  return {begin, end < count ? end : count};
}

/// The first element that a warp does not move with others; all are moved one by one where 16-byte
/// accesses are not possible.
constexpr PRAXINO_HOST_DEVICE int64_t tail_of(const ChunkElements& elements, bool aligned) {
  return aligned ? elements.end - (elements.end - elements.begin) % kWarpElements : elements.begin;
}

}  // namespace praxino::kernels
