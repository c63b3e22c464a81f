#pragma once
// The fused operations on a GPU, as autograd functions around the kernels of kernels/. Arguments
// and results as in praxino/ops/norm.h and rope.h. Each returns nothing where its kernel does not
// serve (no GPU that runs it, another type, a shape out of its range, no elements): the formula
// does then.

#include <ATen/core/Tensor.h>

#include <optional>

#include "praxino/ops/cross_entropy.h"
#include "praxino/ops/norm.h"

namespace praxino::ops::cuda {

#if defined(PRAXINO_CUDA)
inline constexpr bool kBuilt = true;
#else
inline constexpr bool kBuilt = false;
#endif

std::optional<at::Tensor> norm_modulate(const at::Tensor& x, const at::Tensor& scale,
                                        const at::Tensor& shift, at::ScalarType dtype);
std::optional<at::Tensor> gate_add(const at::Tensor& x, const at::Tensor& gate,
                                   const at::Tensor& branch);
std::optional<GatedSum> gate_add_norm(const at::Tensor& x, const at::Tensor& gate,
                                      const at::Tensor& branch, const Modulation& modulation,
                                      at::ScalarType dtype);
std::optional<at::Tensor> swiglu(const at::Tensor& ab);
std::optional<at::Tensor> norm_rotate(const at::Tensor& x, const at::Tensor& gain,
                                      const at::Tensor& cos, const at::Tensor& sin);
/// Where no gradient of x is asked for.
std::optional<at::Tensor> rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);
std::optional<at::Tensor> cross_entropy(const at::Tensor& logits, const at::Tensor& targets,
                                        const CrossEntropyOptions& options);

/// The same after a check at the first use on each device and for each type (self_check.h):
/// nothing where the kernel disagreed with its formula there.
namespace checked {
std::optional<at::Tensor> norm_modulate(const at::Tensor& x, const at::Tensor& scale,
                                        const at::Tensor& shift, at::ScalarType dtype);
std::optional<at::Tensor> gate_add(const at::Tensor& x, const at::Tensor& gate,
                                   const at::Tensor& branch);
std::optional<GatedSum> gate_add_norm(const at::Tensor& x, const at::Tensor& gate,
                                      const at::Tensor& branch, const Modulation& modulation,
                                      at::ScalarType dtype);
std::optional<at::Tensor> swiglu(const at::Tensor& ab);
std::optional<at::Tensor> norm_rotate(const at::Tensor& x, const at::Tensor& gain,
                                      const at::Tensor& cos, const at::Tensor& sin);
std::optional<at::Tensor> rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin);
std::optional<at::Tensor> cross_entropy(const at::Tensor& logits, const at::Tensor& targets,
                                        const CrossEntropyOptions& options);
}  // namespace checked

}  // namespace praxino::ops::cuda
