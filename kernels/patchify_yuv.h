#pragma once
// 8-bit 4:2:0 planes to patch tokens in one pass (the operation: include/praxino/ops/patch.h): the
// chroma is brought to the size of the luma (kernels/yuv_grid.h), pixels become RGB and are rounded
// to the nearest of 256 levels, as a decoder that gives RGB would have it, and normalised. The
// results are those of the formula to the bit. Pointers are to device memory and may not overlap.
// The launcher only queues work on the stream; it is thread-safe.

#include "kernels/launch.h"
#include "kernels/yuv_grid.h"

namespace praxino::kernels {

/// Elements from one to the next of the same kind; samples of a row are neighbours.
struct PlaneStrides {
  int64_t batch = 0;
  int64_t time = 0;
  int64_t row = 0;
};

/// R = l + red_v v, G = l + green_u u + green_v v, B = l + blue_u u for l = (Y - luma_offset) *
/// luma_scale, u = U - 128, v = V - 128: all in levels 0 .. 255.
struct YuvToRgb {
  float luma_offset = 0;
  float luma_scale = 1;
  float red_v = 0;
  float green_u = 0;
  float green_v = 0;
  float blue_u = 0;
};

struct PatchifyYuv {
  const uint8_t* y = nullptr;  // height x width
  const uint8_t* u = nullptr;  // chroma_samples(height) x chroma_samples(width)
  const uint8_t* v = nullptr;
  void* tokens = nullptr;  // frames x (rows x columns) x (3 x patch x patch): R, G, B
  PatchGrid grid = {};     // of three channels
  PlaneStrides luma = {};
  PlaneStrides chroma = {};  // of U and of V
  YuvToRgb color = {};
  Element element = Element::kFloat;  // of tokens
};
/// Any grid that launch_patchify takes. kRefused otherwise.
Status launch_patchify_yuv(const PatchifyYuv& params, Stream stream);

}  // namespace praxino::kernels
