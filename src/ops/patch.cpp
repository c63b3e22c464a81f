#include "praxino/ops/patch.h"

#include <ATen/ops/stack.h>
#include <ATen/ops/upsample_bilinear2d.h>

#include "fused_cuda.h"
#include "praxino/ops/linear.h"
#include "tokens_cuda.h"
#include "yuv_color.h"

namespace praxino::ops {
namespace {

using at::Tensor;

void check_pictures(const Tensor& pictures, int64_t dim, int64_t patch, const char* what) {
  TORCH_CHECK(pictures.dim() == dim && pictures.scalar_type() == at::kByte, what, ": uint8 with ",
              dim, " dims are needed, not ", pictures.scalar_type(), " ", pictures.sizes());
  TORCH_CHECK(patch > 0 && pictures.size(-2) % patch == 0 && pictures.size(-1) % patch == 0, what,
              ": patches of ", patch, " do not tile pictures of ", pictures.size(-2), " x ",
              pictures.size(-1));
}

void check_tokens(const Tensor& tokens, const PatchShape& shape) {
  const int64_t area = shape.patch * shape.patch;
  TORCH_CHECK(tokens.dim() == 4 && area > 0 && tokens.size(2) == shape.rows * shape.columns &&
                  tokens.size(3) % area == 0,
              "unpatchify: tokens of ", tokens.sizes(), " are no ", shape.rows, " x ",
              shape.columns, " patches of ", shape.patch);
}

void check_planes(const YuvPlanes& planes, int64_t patch) {
  check_pictures(planes.y, 4, patch, "patchify_yuv");
  check_pictures(planes.u, 4, 1, "patchify_yuv");
  check_pictures(planes.v, 4, 1, "patchify_yuv");
  const std::vector<int64_t> half = {planes.y.size(0), planes.y.size(1), (planes.y.size(2) + 1) / 2,
                                     (planes.y.size(3) + 1) / 2};
  TORCH_CHECK(planes.u.sizes() == half && planes.v.sizes() == half,
              "patchify_yuv: chroma planes of ", planes.u.sizes(), " and ", planes.v.sizes(),
              " do not belong to a luma plane of ", planes.y.sizes());
}

// B T Y X of chroma, in levels from the middle.
Tensor chroma_of(const Tensor& plane, const Tensor& y) {
  const int64_t rows = plane.size(2), columns = plane.size(3);
  const Tensor wide = at::upsample_bilinear2d(plane.to(at::kFloat).flatten(0, 1).unsqueeze(1),
                                              {2 * rows, 2 * columns}, /*align_corners=*/false);
  return wide.narrow(2, 0, y.size(2)).narrow(3, 0, y.size(3)).reshape(y.sizes()) - 128.0;
}

}  // namespace

namespace formula {

Tensor patchify(const Tensor& frames, int64_t patch, at::ScalarType dtype) {
  const int64_t b = frames.size(0), t = frames.size(1), c = frames.size(2);
  const int64_t rows = frames.size(3) / patch, columns = frames.size(4) / patch;
  const Tensor values = frames.reshape({b, t, c, rows, patch, columns, patch})
                            .permute({0, 1, 3, 5, 2, 4, 6})
                            .to(at::kFloat)
                            .reshape({b, t, rows * columns, c * patch * patch});
  return (values * (2.0 / 255.0) - 1.0).to(dtype);
}

Tensor patch_embed(const Tensor& frames, const Tensor& weight, const Tensor& bias, int64_t patch,
                   at::ScalarType dtype) {
  return linear(formula::patchify(frames, patch, dtype), weight, bias);
}

Tensor unpatchify(const Tensor& tokens, const PatchShape& shape) {
  const int64_t b = tokens.size(0), t = tokens.size(1), patch = shape.patch;
  const int64_t c = tokens.size(3) / (patch * patch);
  return ((tokens.to(at::kFloat) + 1.0) * (255.0 / 2.0))
      .round()
      .clamp(0, 255)
      .nan_to_num(0)
      .to(at::kByte)
      .view({b, t, shape.rows, shape.columns, c, patch, patch})
      .permute({0, 1, 4, 2, 5, 3, 6})
      .reshape({b, t, c, shape.rows * patch, shape.columns * patch});
}

Tensor patchify_yuv(const YuvPlanes& planes, const YuvColor& color, int64_t patch,
                    at::ScalarType dtype) {
  const kernels::YuvToRgb m = yuv_to_rgb(color);
  const Tensor l = (planes.y.to(at::kFloat) - m.luma_offset) * m.luma_scale;
  const Tensor u = chroma_of(planes.u, planes.y), v = chroma_of(planes.v, planes.y);
  const Tensor rgb =
      at::stack({l + v * m.red_v, l + u * m.green_u + v * m.green_v, l + u * m.blue_u}, 2);
  return formula::patchify(rgb.round().clamp(0, 255).to(at::kByte), patch, dtype);
}

}  // namespace formula

Tensor patchify(const Tensor& frames, int64_t patch, at::ScalarType dtype) {
  check_pictures(frames, 5, patch, "patchify");
  if constexpr (cuda::kBuilt) {
    if (const auto tokens = cuda::checked::patchify(frames, patch, dtype)) return *tokens;
  }
  return formula::patchify(frames, patch, dtype);
}

Tensor patch_embed(const Tensor& frames, const Tensor& weight, const Tensor& bias, int64_t patch,
                   at::ScalarType dtype) {
  check_pictures(frames, 5, patch, "patch_embed");
  const int64_t width = frames.size(2) * patch * patch;
  TORCH_CHECK(weight.dim() == 2 && weight.size(1) == width && bias.dim() == 1 &&
                  bias.size(0) == weight.size(0),
              "patch_embed: weight of ", weight.sizes(), " and bias of ", bias.sizes(),
              " do not project tokens of ", width);
  if constexpr (cuda::kBuilt) {
    if (const auto y = cuda::checked::patch_embed(frames, weight, bias, patch, dtype)) return *y;
  }
  return linear(patchify(frames, patch, dtype), weight, bias);
}

Tensor unpatchify(const Tensor& tokens, const PatchShape& shape) {
  check_tokens(tokens, shape);
  if constexpr (cuda::kBuilt) {
    if (const auto frames = cuda::checked::unpatchify(tokens, shape)) return *frames;
  }
  return formula::unpatchify(tokens, shape);
}

Tensor patchify_yuv(const YuvPlanes& planes, const YuvColor& color, int64_t patch,
                    at::ScalarType dtype) {
  check_planes(planes, patch);
  if constexpr (cuda::kBuilt) {
    if (const auto tokens = cuda::checked::patchify_yuv(planes, color, patch, dtype))
      return *tokens;
  }
  return formula::patchify_yuv(planes, color, patch, dtype);
}

}  // namespace praxino::ops
