#pragma once
// The kernels between pixels, tokens and codes, on a GPU. Arguments and results as in
// praxino/ops/patch.h and quantize.h. Each returns nothing where its kernel does not serve (no GPU
// that runs it, another type, a shape out of its range, no elements): the formula does then.

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/fsq.h"
#include "kernels/tiers.h"
#include "praxino/ops/patch.h"
#include "praxino/ops/quantize.h"

namespace praxino::ops::cuda {

std::optional<at::Tensor> patchify(const at::Tensor& frames, int64_t patch, at::ScalarType dtype);
std::optional<at::Tensor> patch_embed(const at::Tensor& frames, const at::Tensor& weight,
                                      const at::Tensor& bias, int64_t patch, at::ScalarType dtype);
std::optional<at::Tensor> unpatchify(const at::Tensor& tokens, const PatchShape& shape);
std::optional<at::Tensor> patchify_yuv(const YuvPlanes& planes, const YuvColor& color,
                                       int64_t patch, at::ScalarType dtype);
std::optional<Quantized> finite_scalar_quantize(const at::Tensor& z,
                                                const kernels::FsqLevels& levels);
std::optional<at::Tensor> nearest_code(const at::Tensor& x, const at::Tensor& codebook,
                                       kernels::Tier tier = kernels::Tier::kPortable);
std::optional<CodeStatistics> code_statistics(const at::Tensor& x, const at::Tensor& indices,
                                              int64_t codes);

/// The same where the kernel has agreed with its formula (kernel_registry.h).
namespace checked {
std::optional<at::Tensor> patchify(const at::Tensor& frames, int64_t patch, at::ScalarType dtype);
std::optional<at::Tensor> patch_embed(const at::Tensor& frames, const at::Tensor& weight,
                                      const at::Tensor& bias, int64_t patch, at::ScalarType dtype);
std::optional<at::Tensor> unpatchify(const at::Tensor& tokens, const PatchShape& shape);
std::optional<at::Tensor> patchify_yuv(const YuvPlanes& planes, const YuvColor& color,
                                       int64_t patch, at::ScalarType dtype);
std::optional<Quantized> finite_scalar_quantize(const at::Tensor& z,
                                                const kernels::FsqLevels& levels);
std::optional<at::Tensor> nearest_code(const at::Tensor& x, const at::Tensor& codebook);
std::optional<CodeStatistics> code_statistics(const at::Tensor& x, const at::Tensor& indices,
                                              int64_t codes);
}  // namespace checked

}  // namespace praxino::ops::cuda
