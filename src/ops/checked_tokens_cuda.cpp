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

SelfCheck search_check(at::TensorOptions o, kernels::Tier tier) {
  const at::TensorOptions f = o.dtype(at::kFloat);
  // Of one codebook, every entry stands there twice.
  const Tensor half = wave({35, 48}, 1, f);
  return {
      .kernel = [tier](const Inputs& in) { return cuda::nearest_code(in[0], in[1], tier).value(); },
      .formula = [](const Inputs& in) { return formula::nearest_code(in[0], in[1]); },
      .cases = {{wave({300, 64}, 0, o), wave({130, 64}, 1, f)},
                {wave({40, 48}, 0, o), at::cat({half, half})},
                {wave({40, 32}, 0, o), wave({1, 32}, 1, f)},
                {wave({40, 128}, 0, o), wave({70, 128}, 1, f)},
                {wave({40, 256}, 0, o), wave({66, 256}, 1, f)}},
      .tolerance = kEqualBits};
}

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

SelfCheck check_of_patch_embed(at::TensorOptions o) {
  const at::ScalarType type = o.dtype().toScalarType();
  const at::TensorOptions f = o.dtype(at::kFloat);
  return {.kernel =
              [type](const Inputs& in) {
                const Tensor frames = cropped(in[0]);
                return cuda::patch_embed(frames, in[1], in[2], patch_of(frames), type).value();
              },
          .formula =
              [type](const Inputs& in) {
                const Tensor frames = cropped(in[0]);
                return formula::patch_embed(frames, in[1], in[2], patch_of(frames), type);
              },
          .cases = {{levels_of({2, 2, 3, 25, 51}, o), wave({72, 192}, 1, f), wave({72}, 2, f)},
                    {levels_of({1, 2, 3, 22, 42}, o), wave({35, 27}, 1, f), wave({35}, 2, f)}},
          .tolerance = 3e-2};
}

SelfCheck check_of_nearest_code(at::TensorOptions o) {
  return search_check(o, kernels::Tier::kPortable);
}
SelfCheck check_of_nearest_code_hopper(at::TensorOptions o) {
  return search_check(o, kernels::Tier::kHopper);
}

SelfCheck check_of_code_sums(at::TensorOptions o) {
  // Some codes have many rows, some none.
  const auto together = [](const CodeStatistics& found) {
    return at::cat({found.counts.unsqueeze(1).to(at::kFloat), found.sums}, 1);
  };
  const Tensor indices = at::arange(300, o.dtype(at::kLong)).square().remainder(29);
  return {.kernel =
              [=](const Inputs& in) {
                return together(cuda::code_statistics(in[0].detach(), in[1], 30).value());
              },
          .formula =
              [=](const Inputs& in) {
                return together(formula::code_statistics(in[0].detach(), in[1], 30));
              },
          .cases = {{wave({300, 48}, 0, o), indices}},
          .tolerance = 1e-5};
}

namespace checked {

std::optional<Tensor> patchify(const Tensor& frames, int64_t patch, at::ScalarType dtype) {
  if (!usable(Kernel::patchify, frames, dtype)) return std::nullopt;
  return taken_or_told(Kernel::patchify, frames, dtype, cuda::patchify(frames, patch, dtype));
}

std::optional<Tensor> patch_embed(const Tensor& frames, const Tensor& weight, const Tensor& bias,
                                  int64_t patch, at::ScalarType dtype) {
  if (!usable(Kernel::patch_embed, frames, dtype)) return std::nullopt;
  return taken_or_told(Kernel::patch_embed, frames, dtype,
                       cuda::patch_embed(frames, weight, bias, patch, dtype));
}

std::optional<Tensor> unpatchify(const Tensor& tokens, const PatchShape& shape) {
  if (!usable(Kernel::unpatchify, tokens, tokens.scalar_type())) return std::nullopt;
  return taken_or_told(Kernel::unpatchify, tokens, tokens.scalar_type(),
                       cuda::unpatchify(tokens, shape));
}

std::optional<Tensor> patchify_yuv(const YuvPlanes& planes, const YuvColor& color, int64_t patch,
                                   at::ScalarType dtype) {
  if (!usable(Kernel::patchify_yuv, planes.y, dtype)) return std::nullopt;
  return taken_or_told(Kernel::patchify_yuv, planes.y, dtype,
                       cuda::patchify_yuv(planes, color, patch, dtype));
}

std::optional<Quantized> finite_scalar_quantize(const Tensor& z, const kernels::FsqLevels& levels) {
  if (!usable(Kernel::fsq, z, z.scalar_type())) return std::nullopt;
  return taken_or_told(Kernel::fsq, z, z.scalar_type(), cuda::finite_scalar_quantize(z, levels));
}

std::optional<Tensor> nearest_code(const Tensor& x, const Tensor& codebook) {
  if (usable(Kernel::nearest_code_hopper, x, x.scalar_type()))
    return cuda::nearest_code(x, codebook, kernels::Tier::kHopper);
  if (!usable(Kernel::nearest_code, x, x.scalar_type())) return std::nullopt;
  return taken_or_told(Kernel::nearest_code, x, x.scalar_type(), cuda::nearest_code(x, codebook));
}

std::optional<CodeStatistics> code_statistics(const Tensor& x, const Tensor& indices,
                                              int64_t codes) {
  if (!usable(Kernel::code_sums, x, x.scalar_type())) return std::nullopt;
  return taken_or_told(Kernel::code_sums, x, x.scalar_type(),
                       cuda::code_statistics(x, indices, codes));
}

}  // namespace checked

}  // namespace praxino::ops::cuda
