#pragma once
// The table of kernel_list.h as code: an enumerator, the check, and the verdicts of each kernel.

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernel_list.h"
#include "kernels/tiers.h"
#include "praxino/ops/kernels.h"
#include "self_check.h"

namespace praxino::ops::cuda {

#define PRAXINO_KERNEL_NAME(name, op, family, tier, types) name,
enum class Kernel : int { PRAXINO_KERNELS(PRAXINO_KERNEL_NAME) };
#undef PRAXINO_KERNEL_NAME

// Of elements of the type in the options, on the device in them.
#define PRAXINO_KERNEL_CHECK(name, op, family, tier, types) \
  SelfCheck check_of_##name(at::TensorOptions options);
PRAXINO_KERNELS(PRAXINO_KERNEL_CHECK)
#undef PRAXINO_KERNEL_CHECK

/// True where the kernel may be taken for elements of `type` where `on` lies: a GPU of its tier, a
/// type that it has, a family that is on, and agreement with the formula there, which is checked
/// now where it has not been before. False for tensors without elements. Cheap once known.
bool usable(Kernel kernel, const at::Tensor& on, at::ScalarType type);

/// The warning of taken_or_told(), which is what calls it.
void tell_refusal(Kernel kernel, const at::Tensor& on, at::ScalarType type);

/// What checked::op() gives: `result`, and where it is nothing a warning, once for each kernel and
/// element type, that the kernel does not take these operands, `on` the first of them, and that
/// the formula serves.
template <class Result>
std::optional<Result> taken_or_told(Kernel kernel, const at::Tensor& on, at::ScalarType type,
                                    std::optional<Result> result) {
  if (!result) tell_refusal(kernel, on, type);
  return result;
}

/// The tier of the device: of its chip, or what PRAXINO_TIER says.
kernels::Tier tier_of(const at::Device& device);

}  // namespace praxino::ops::cuda
