#pragma once
// 8-bit pixels to projected patches in one pass (the operation: include/praxino/ops/patch.h): no
// tokens in between. The normalisation goes into the weights: with w' = 2/255 w rounded once to
// bfloat16,
//   sum w (2/255 x - 1) + b  =  sum w' (x - 128) + b + sum w' / 2,
// where x - 128 is exact in bfloat16. So only the weights are rounded, where the formula rounds
// tokens, too; and the sum of the rounded weights is in the bias, so that a rounded weight is
// multiplied with small numbers. Sums in float on tensor cores; deterministic. Pointers are to
// device memory and may not overlap. The launcher only queues work on the stream; it is
// thread-safe.

#include "kernels/bf16.h"
#include "kernels/launch.h"
#include "kernels/patch_embed_grid.h"

namespace praxino::kernels {

struct PatchEmbed {
  const uint8_t* pixels = nullptr;
  const float* weight = nullptr;  // outputs x token
  const float* bias = nullptr;    // outputs; null: none
  void* y = nullptr;              // frames x (rows x columns) x outputs
  void* workspace = nullptr;      // patch_embed_parts(grid, outputs).end bytes, aligned to 16
  PatchGrid grid = {};
  PictureStrides strides = {};  // of pixels
  int64_t outputs = 0;
  Element element = Element::kFloat;  // of y
};
/// Any grid, empty ones included, that kernels/patch_grid.h holds; 1 to 2^20 outputs. kRefused
/// otherwise.
Status launch_patch_embed(const PatchEmbed& params, Stream stream);

/// grad_weight = grad^T (2/255 x - 1), from the same pixels: 2/255 (grad^T (x - 128) + grad_bias /
/// 2). Products in bfloat16, sums in float, in an order that follows from the shape.
struct PatchEmbedBackward {
  const uint8_t* pixels = nullptr;
  const Bf16* grad = nullptr;        // of y, aligned to 16
  const float* grad_bias = nullptr;  // outputs: the sum of grad over tokens
  float* grad_weight = nullptr;      // outputs x token
  float* workspace = nullptr;        // embed_grad_workspace(...) floats
  PatchGrid grid = {};
  PictureStrides strides = {};
  int64_t outputs = 0;
};
/// As launch_patch_embed; outputs are a multiple of 8, and the grid is not empty.
Status launch_patch_embed_backward(const PatchEmbedBackward& params, Stream stream);

}  // namespace praxino::kernels
