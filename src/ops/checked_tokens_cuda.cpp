// Kernels between pixels, tokens and codes that have agreed with their formula, and what they are
// checked with.
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>

#include "kernel_registry.h"
#include "launch_cuda.h"
#include "tokens_cuda.h"

namespace praxino::ops::cuda {
namespace {

using at::Tensor;
using Inputs = std::vector<Tensor>;

// Kernels that promise the bits of their formula.
constexpr double kEqualBits = 0;

// Pixels of all levels.
Tensor levels_of(at::IntArrayRef sizes, at::TensorOptions o) {
  const Tensor number = at::arange(c10::multiply_integers(sizes), o.dtype(at::kLong));
  return (number * 37).remainder(256).to(at::kByte).view(sizes);
}

// Pictures inside larger ones, of patches that 16 bytes divide and of others.
Tensor cropped(const Tensor& pictures) {
  return pictures.narrow(-2, 1, pictures.size(-2) - 1).narrow(-1, 3, pictures.size(-1) - 3);
}
int64_t patch_of(const Tensor& pictures) { return pictures.size(-1) % 8 == 0 ? 8 : 3; }

}  // namespace

SelfCheck check_of_patchify(at::TensorOptions o) {
  const at::ScalarType type = o.dtype().toScalarType();
  return {.kernel =
              [type](const Inputs& in) {
                const Tensor frames = cropped(in[0]);
                return cuda::patchify(frames, patch_of(frames), type).value();
              },
          .formula =
              [type](const Inputs& in) {
                const Tensor frames = cropped(in[0]);
                return formula::patchify(frames, patch_of(frames), type);
              },
          .cases = {{levels_of({2, 2, 3, 25, 51}, o)}, {levels_of({1, 2, 3, 22, 42}, o)}},
          .tolerance = kEqualBits};
}

SelfCheck check_of_unpatchify(at::TensorOptions o) {
  const auto shape_of = [](const Tensor& tokens) {
    return PatchShape{.rows = 2, .columns = 3, .patch = tokens.size(3) == 192 ? 8 : 3};
  };
  return {
      .kernel =
          [shape_of](const Inputs& in) { return cuda::unpatchify(in[0], shape_of(in[0])).value(); },
      .formula =
          [shape_of](const Inputs& in) { return formula::unpatchify(in[0], shape_of(in[0])); },
      .cases = {{wave({2, 2, 6, 192}, 0, o) * 1.1}, {wave({1, 2, 6, 27}, 0, o) * 1.1}},
      .tolerance = kEqualBits};
}

SelfCheck check_of_patchify_yuv(at::TensorOptions o) {
  const at::ScalarType type = o.dtype().toScalarType();
  const YuvColor color{.matrix = YuvMatrix::kBt601, .full_range = false};
  return {
      .kernel =
          [type, color](const Inputs& in) {
            return cuda::patchify_yuv({in[0], in[1], in[2]}, color, patch_of(in[0]), type).value();
          },
      .formula =
          [type, color](const Inputs& in) {
            return formula::patchify_yuv({in[0], in[1], in[2]}, color, patch_of(in[0]), type);
          },
      .cases = {{levels_of({2, 2, 24, 48}, o), levels_of({2, 2, 12, 24}, o),
                 levels_of({2, 2, 12, 24}, o).flip(3)},
                {levels_of({1, 2, 21, 39}, o), levels_of({1, 2, 11, 20}, o),
                 levels_of({1, 2, 11, 20}, o).flip(3)}},
      .tolerance = kEqualBits};
}

SelfCheck check_of_fsq(at::TensorOptions o) {
  // Codes, and indices beside them.
  const auto together = [](const Quantized& q) {
    return at::cat({q.codes, q.indices.unsqueeze(-1).to(q.codes.scalar_type())}, -1);
  };
  constexpr std::array<int64_t, 3> kLevels = {5, 3, 4};
  const kernels::FsqLevels levels{.channels = 3, .of = {5, 3, 4}};
  return {.kernel =
              [=](const Inputs& in) {
                return together(cuda::finite_scalar_quantize(in[0], levels).value());
              },
          .formula =
              [=](const Inputs& in) {
                return together(formula::finite_scalar_quantize(in[0], kLevels));
              },
          .cases = {{wave({300, 3}, 0, o) * 2}},
          .tolerance = o.dtype() == at::kFloat ? 1e-4 : 8e-3};
}

namespace checked {

std::optional<Tensor> patchify(const Tensor& frames, int64_t patch, at::ScalarType dtype) {
  if (!usable(Kernel::patchify, frames, dtype)) return std::nullopt;
  return cuda::patchify(frames, patch, dtype);
}

std::optional<Tensor> unpatchify(const Tensor& tokens, const PatchShape& shape) {
  if (!usable(Kernel::unpatchify, tokens, tokens.scalar_type())) return std::nullopt;
  return cuda::unpatchify(tokens, shape);
}

std::optional<Tensor> patchify_yuv(const YuvPlanes& planes, const YuvColor& color, int64_t patch,
                                   at::ScalarType dtype) {
  if (!usable(Kernel::patchify_yuv, planes.y, dtype)) return std::nullopt;
  return cuda::patchify_yuv(planes, color, patch, dtype);
}

std::optional<Quantized> finite_scalar_quantize(const Tensor& z, const kernels::FsqLevels& levels) {
  if (!usable(Kernel::fsq, z, z.scalar_type())) return std::nullopt;
  return cuda::finite_scalar_quantize(z, levels);
}

}  // namespace checked

}  // namespace praxino::ops::cuda
