#pragma once
// Pixels to patch tokens and back (the operations: include/praxino/ops/patch.h), each in one pass:
// 8-bit pixels on one side, normalised tokens on the other, nothing in between. Both sides move 16
// bytes an access wherever the rows of pixels begin; tokens that 16 bytes do not divide move an
// element at a time. The results are those of the formula to the bit. Pointers are to device memory
// and may not overlap. Launchers only queue work on the stream; they are thread-safe.

#include "kernels/launch.h"
#include "kernels/patch_grid.h"

namespace praxino::kernels {

/// token = pixel * (2 / 255) - 1
struct Patchify {
  const uint8_t* pixels = nullptr;
  void* tokens = nullptr;  // frames x (rows x columns) x (channels x patch x patch)
  PatchGrid grid = {};
  PictureStrides strides = {};        // of pixels
  Element element = Element::kFloat;  // of tokens
};
/// Any grid, empty ones included, whose patch fits shared memory (strip_bytes(grid, 1) up to 48
/// KiB: a patch of 113 with three channels). kRefused otherwise.
Status launch_patchify(const Patchify& params, Stream stream);

/// pixel = (token + 1) * (255 / 2), to the nearest whole number (ties to even), within 0 .. 255;
/// NaN becomes 0.
struct Unpatchify {
  const void* tokens = nullptr;
  uint8_t* pixels = nullptr;
  PatchGrid grid = {};
  PictureStrides strides = {};        // of pixels
  Element element = Element::kFloat;  // of tokens
};
Status launch_unpatchify(const Unpatchify& params, Stream stream);

}  // namespace praxino::kernels
