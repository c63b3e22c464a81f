#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/patchify.h"
#include "launch_cuda.h"
#include "tokens_cuda.h"
#include "yuv_color.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

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

// Tokens are made twice rather than kept: they are twice the bytes of the pixels, and the kernel
// that makes them takes a fraction of the time of either product.
struct PatchEmbed : torch::autograd::Function<PatchEmbed> {
  static Tensor tokens_of(const Tensor& frames, int64_t patch) {
    return cuda::patchify(frames, patch, at::kBFloat16).value().flatten(0, 2);
  }
  static Tensor forward(AutogradContext* ctx, const Tensor& frames, const Tensor& weight,
                        const Tensor& bias, int64_t patch) {
    const kernels::PatchGrid grid = grid_of(frames, frames.size(2), patch);
    ctx->save_for_backward({frames});
    ctx->saved_data["patch"] = patch;
    return at::linear(tokens_of(frames, patch), weight.to(at::kBFloat16), bias.to(at::kBFloat16))
        .view({grid.batch, grid.time, grid.rows * grid.columns, weight.size(0)});
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("patch_embed");
    const Tensor frames = ctx->get_saved_variables()[0];
    const Tensor grad = grads[0].reshape({-1, grads[0].size(-1)});
    Tensor grad_weight, grad_bias;
    if (ctx->needs_input_grad(1)) {
      const Tensor tokens = tokens_of(frames, ctx->saved_data["patch"].toInt());
      grad_weight = grad.t().mm(tokens).to(at::kFloat);
    }
    if (ctx->needs_input_grad(2)) grad_bias = grad.sum(0, /*keepdim=*/false, at::kFloat);
    return {Tensor(), grad_weight, grad_bias, Tensor()};
  }
};

}  // namespace

std::optional<Tensor> patch_embed(const Tensor& frames, const Tensor& weight, const Tensor& bias,
                                  int64_t patch, at::ScalarType dtype) {
  if (!on_capable_gpu(frames) || frames.scalar_type() != at::kByte || dtype != at::kBFloat16)
    return std::nullopt;
  const kernels::PatchGrid grid = grid_of(frames, frames.size(2), patch);
  const int64_t outputs = weight.size(0);
  const bool served = is_float(weight, {outputs, grid.token()}, frames) &&
                      is_float(bias, {outputs}, frames) && kernels::in_range(grid) && outputs > 0;
  if (!served) return std::nullopt;
  return PatchEmbed::apply(in_rows(frames), weight, bias, patch);
}

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
