#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/patch_embed.h"
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

// From the pixels; for numbers of outputs that 16-byte accesses do not divide, from tokens that are
// made again.
Tensor gradient_of_weight(const Tensor& frames, const Tensor& grad, const Tensor& grad_bias,
                          int64_t patch) {
  const kernels::PatchGrid grid = grid_of(frames, frames.size(2), patch);
  const int64_t outputs = grad.size(1);
  if (outputs % 8 != 0 || !kernels::aligned_16(grad.const_data_ptr())) {
    const Tensor tokens = cuda::patchify(frames, patch, at::kBFloat16).value();
    return grad.t().mm(tokens.flatten(0, 2)).to(at::kFloat);
  }
  const Launching launching(frames);
  const Tensor grad_weight = at::empty({outputs, grid.token()}, grad_bias.options()),
               workspace =
                   at::empty({kernels::embed_grad_workspace(grad.size(0), outputs, grid.token())},
                             grad_bias.options());
  const kernels::PatchEmbedBackward p{
      .pixels = frames.const_data_ptr<uint8_t>(),
      .grad = static_cast<const kernels::Bf16*>(grad.const_data_ptr()),
      .grad_bias = grad_bias.const_data_ptr<float>(),
      .grad_weight = grad_weight.mutable_data_ptr<float>(),
      .workspace = workspace.mutable_data_ptr<float>(),
      .grid = grid,
      .strides = strides_of(frames),
      .outputs = outputs};
  Launching::check(kernels::launch_patch_embed_backward(p, launching.stream()),
                   "patch_embed backward");
  return grad_weight;
}

struct PatchEmbed : torch::autograd::Function<PatchEmbed> {
  static Tensor forward(AutogradContext* ctx, const Tensor& frames, const Tensor& weight_in,
                        const Tensor& bias_in, int64_t patch) {
    const Tensor weight = weight_in.contiguous(), bias = bias_in.contiguous();
    const kernels::PatchGrid grid = grid_of(frames, frames.size(2), patch);
    const int64_t outputs = weight.size(0);
    const Launching launching(frames);
    const Tensor y = at::empty({grid.batch, grid.time, grid.rows * grid.columns, outputs},
                               frames.options().dtype(at::kBFloat16)),
                 workspace =
                     at::empty({kernels::patch_embed_parts(grid, outputs).end}, frames.options());
    const kernels::PatchEmbed p{.pixels = frames.const_data_ptr<uint8_t>(),
                                .weight = weight.const_data_ptr<float>(),
                                .bias = bias.const_data_ptr<float>(),
                                .y = y.mutable_data_ptr(),
                                .workspace = workspace.mutable_data_ptr(),
                                .grid = grid,
                                .strides = strides_of(frames),
                                .outputs = outputs,
                                .element = kernels::Element::kBf16};
    Launching::check(kernels::launch_patch_embed(p, launching.stream()), "patch_embed");
    ctx->save_for_backward({frames});
    ctx->saved_data["patch"] = patch;
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    refuse_double_backward("patch_embed");
    const Tensor frames = ctx->get_saved_variables()[0];
    const int64_t patch = ctx->saved_data["patch"].toInt();
    const Tensor grad = grads[0].reshape({-1, grads[0].size(-1)}).contiguous();
    const Tensor grad_bias = grad.sum(0, /*keepdim=*/false, at::kFloat);
    const Tensor grad_weight =
        ctx->needs_input_grad(1) ? gradient_of_weight(frames, grad, grad_bias, patch) : Tensor();
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
                      is_float(bias, {outputs}, frames) && kernels::in_range(grid) && outputs > 0 &&
                      outputs <= kernels::kMostEmbedOutputs;
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
