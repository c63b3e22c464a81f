#pragma once
// Between 8-bit pictures and patch tokens. Token n = row * columns + column of a frame holds its
// square of patch x patch pixels in the order channel, row, column: D = C * patch * patch. Pure
// functions, thread-safe; without gradients but for patch_embed(). On a GPU each of the others is
// one kernel (docs/kernels.md) with the bits of the formula; tokens are made from pixels, and
// pixels from tokens, with nothing in between.

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace praxino::ops {

/// frames: B T C Y X uint8, of any strides -> B T N D of `dtype` (float32 or bfloat16): pixel *
/// (2 / 255) - 1 in float32, then rounded to `dtype`. c10::Error where the patch does not divide Y
/// and X.
at::Tensor patchify(const at::Tensor& frames, int64_t patch, at::ScalarType dtype);

/// Projected patches: patchify(), then linear(tokens, weight, bias) of praxino/ops/linear.h.
/// weight: O D float32, bias: O float32 -> B T N O of `dtype`. Differentiable in weight and bias.
/// On a GPU and in bfloat16 the backward pass keeps the 8-bit pixels alone, and makes tokens again
/// (docs/kernels.md).
at::Tensor patch_embed(const at::Tensor& frames, const at::Tensor& weight, const at::Tensor& bias,
                       int64_t patch, at::ScalarType dtype);

/// Of a frame's patches.
struct PatchShape {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t patch = 0;  // side in pixels
};

/// The way back: tokens B T N D of any float dtype -> frames B T C Y X uint8: (token + 1) * (255 /
/// 2) in float32 to the nearest level, ties to even, within 0 .. 255. NaN becomes 0. c10::Error
/// where N and D do not fit the shape.
at::Tensor unpatchify(const at::Tensor& tokens, const PatchShape& shape);

/// 8-bit 4:2:0 planes as a decoder gives them: y: B T Y X; u, v: B T ceil(Y/2) ceil(X/2), uint8, of
/// any strides.
struct YuvPlanes {
  at::Tensor y, u, v;
};

enum class YuvMatrix { kBt601, kBt709, kBt2020 };  // ITU-R BT.601, BT.709, BT.2020 (non-constant)

struct YuvColor {
  YuvMatrix matrix = YuvMatrix::kBt709;
  bool full_range = false;  // Y, U, V in 0 .. 255 instead of 16 .. 235 and 16 .. 240
};

/// The tokens (B T N 3*patch*patch) of the RGB picture that the planes show. Chroma is interpolated
/// between samples that lie in the middle of their two by two pixels (as MPEG-1 and JPEG place
/// them, and as praxino's own decoder reads 4:2:0 whatever the file says; over an odd size the last
/// sample reaches beyond the picture), three quarters of the nearest and one of the next in each
/// direction, border samples repeated. Then R = l + 2 (1 - Kr) v and so on in float32, rounded to
/// the nearest of 256 levels, ties to even, and normalised as by patchify().
at::Tensor patchify_yuv(const YuvPlanes& planes, const YuvColor& color, int64_t patch,
                        at::ScalarType dtype);

namespace formula {
at::Tensor patchify(const at::Tensor& frames, int64_t patch, at::ScalarType dtype);
at::Tensor patch_embed(const at::Tensor& frames, const at::Tensor& weight, const at::Tensor& bias,
                       int64_t patch, at::ScalarType dtype);
at::Tensor unpatchify(const at::Tensor& tokens, const PatchShape& shape);
at::Tensor patchify_yuv(const YuvPlanes& planes, const YuvColor& color, int64_t patch,
                        at::ScalarType dtype);
}  // namespace formula

}  // namespace praxino::ops
