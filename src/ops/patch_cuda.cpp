#include <ATen/ops/empty.h>

#include "kernels/patchify.h"
#include "launch_cuda.h"
#include "tokens_cuda.h"
#include "yuv_color.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;

// With pixels of a row side by side.
Tensor in_rows(const Tensor& pictures) {
  return pictures.stride(-1) == 1 ? pictures : pictures.contiguous();
}

kernels::PictureStrides strides_of(const Tensor& frames) {
  return {frames.stride(0), frames.stride(1), frames.stride(2), frames.stride(3)};
}

kernels::PatchGrid grid_of(const Tensor& pictures, int64_t channels, int64_t patch) {
  return {.batch = pictures.size(0),
          .time = pictures.size(1),
          .rows = pictures.size(-2) / patch,
          .columns = pictures.size(-1) / patch,
          .channels = channels,
          .patch = patch};
}

Tensor tokens_for(const kernels::PatchGrid& grid, const Tensor& on, at::ScalarType dtype) {
  return at::empty({grid.batch, grid.time, grid.rows * grid.columns, grid.token()},
                   on.options().dtype(dtype));
}

}  // namespace

std::optional<Tensor> patchify(const Tensor& frames_in, int64_t patch, at::ScalarType dtype) {
  if (!on_capable_gpu(frames_in) || frames_in.scalar_type() != at::kByte || !element_of(dtype))
    return std::nullopt;
  const Tensor frames = in_rows(frames_in);
  const kernels::PatchGrid grid = grid_of(frames, frames.size(2), patch);
  if (!kernels::in_range(grid)) return std::nullopt;
  const Launching launching(frames);
  const Tensor tokens = tokens_for(grid, frames, dtype);
  const kernels::Patchify p{.pixels = frames.const_data_ptr<uint8_t>(),
                            .tokens = tokens.mutable_data_ptr(),
                            .grid = grid,
                            .strides = strides_of(frames),
                            .element = *element_of(dtype)};
  Launching::check(kernels::launch_patchify(p, launching.stream()), "patchify");
  return tokens;
}

std::optional<Tensor> unpatchify(const Tensor& tokens_in, const PatchShape& shape) {
  if (!on_capable_gpu(tokens_in) || !element_of(tokens_in.scalar_type())) return std::nullopt;
  const kernels::PatchGrid grid{.batch = tokens_in.size(0),
                                .time = tokens_in.size(1),
                                .rows = shape.rows,
                                .columns = shape.columns,
                                .channels = tokens_in.size(3) / (shape.patch * shape.patch),
                                .patch = shape.patch};
  if (!kernels::in_range(grid)) return std::nullopt;
  const Tensor tokens = tokens_in.contiguous();
  const Launching launching(tokens);
  const Tensor frames =
      at::empty({grid.batch, grid.time, grid.channels, grid.height(), grid.width()},
                tokens.options().dtype(at::kByte));
  const kernels::Unpatchify p{.tokens = tokens.const_data_ptr(),
                              .pixels = frames.mutable_data_ptr<uint8_t>(),
                              .grid = grid,
                              .strides = kernels::contiguous_strides(grid),
                              .element = *element_of(tokens.scalar_type())};
  Launching::check(kernels::launch_unpatchify(p, launching.stream()), "unpatchify");
  return frames;
}

std::optional<Tensor> patchify_yuv(const YuvPlanes& planes, const YuvColor& color, int64_t patch,
                                   at::ScalarType dtype) {
  const bool together =
      planes.u.device() == planes.y.device() && planes.v.device() == planes.y.device();
  if (!on_capable_gpu(planes.y) || !together || !element_of(dtype)) return std::nullopt;
  const Tensor y = in_rows(planes.y);
  Tensor u = in_rows(planes.u), v = in_rows(planes.v);
  if (u.strides() != v.strides()) u = u.contiguous(), v = v.contiguous();
  const kernels::PatchGrid grid = grid_of(y, 3, patch);
  if (!kernels::in_range(grid)) return std::nullopt;
  const Launching launching(y);
  const Tensor tokens = tokens_for(grid, y, dtype);
  const kernels::PatchifyYuv p{.y = y.const_data_ptr<uint8_t>(),
                               .u = u.const_data_ptr<uint8_t>(),
                               .v = v.const_data_ptr<uint8_t>(),
                               .tokens = tokens.mutable_data_ptr(),
                               .grid = grid,
                               .luma = {y.stride(0), y.stride(1), y.stride(2)},
                               .chroma = {u.stride(0), u.stride(1), u.stride(2)},
                               .color = yuv_to_rgb(color),
                               .element = *element_of(dtype)};
  Launching::check(kernels::launch_patchify_yuv(p, launching.stream()), "patchify_yuv");
  return tokens;
}

}  // namespace praxino::ops::cuda
