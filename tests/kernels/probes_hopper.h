#pragma once
// One small kernel for each instruction of the device layer that only Hopper has, and what it must
// give. The same probes run on the CPU (their plain meaning) and on a GPU (the instruction).

#include <vector>

#include "kernels/bf16.h"
#include "kernels/launch.h"

namespace praxino::kernels::testing {

/// d = c + a b, 64 x depth by depth x columns. Stored with rows along the contraction, or not.
struct ProductProbe {
  int columns = 64;  // 64 or 128
  int depth = 64;    // a multiple of 64
  bool a_outer = false, b_outer = false;
  bool a_in_registers = false;
  const Bf16* a = nullptr;   // 64 x depth
  const Bf16* b = nullptr;   // depth x columns
  const float* c = nullptr;  // 64 x columns
  float* d = nullptr;
};
Status launch_probe(const ProductProbe& probe, Stream stream);

/// A tile of a tensor of floats, copied to shared memory, out to a list, and back to some place of
/// a second tensor of the same shape.
struct TileProbe {
  int dimensions = 2;
  int64_t sizes[5] = {};
  int64_t strides[5] = {};
  int box[5] = {};
  int corner[5] = {};  // of the tile that is loaded
  int back[5] = {};    // of the one that is stored
  const float* from = nullptr;
  float* list = nullptr;  // the box, the innermost dimension first
  float* to = nullptr;
};
Status launch_probe(const TileProbe& probe, Stream stream);

/// Rows of 64 elements in bfloat16, copied with the swizzle: `list` are the 16-byte units as they
/// lie in shared memory.
struct SwizzleProbe {
  const Bf16* from = nullptr;  // rows x 64
  int rows = 8;                // at most 256, a multiple of 8
  uint32_t* list = nullptr;    // rows x 32
};
Status launch_probe(const SwizzleProbe& probe, Stream stream);

/// A ring of two stages through which one warp hands `tiles` tiles of 64 floats to another
/// warpgroup; barriers in shared memory, and registers that change hands.
struct RingProbe {
  const float* from = nullptr;  // tiles x 64
  float* to = nullptr;          // the same
  int tiles = 1;
};
Status launch_probe(const RingProbe& probe, Stream stream);

/// Two warpgroups that take turns by named barriers: each adds its number to a list.
struct TurnsProbe {
  float* list = nullptr;  // 2 x turns
  int turns = 1;
};
Status launch_probe(const TurnsProbe& probe, Stream stream);

}  // namespace praxino::kernels::testing
