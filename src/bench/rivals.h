#pragma once
// What our attention is measured beside: LibTorch's operations without our kernels,
// FlashAttention-2 and cuDNN.

#include <ATen/core/Tensor.h>

#include "bench/cases.h"

namespace praxino::bench {

/// The function as it runs where no kernel serves: attention and its norm by LibTorch's operations.
Function by_libtorch(Function run);

/// Attention of a library. q, k, v: B H S K of as many heads.
struct Library {
  const char* name;
  at::Tensor (*attend)(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, bool causal);
};

/// On a GPU and in bfloat16 FlashAttention-2 and cuDNN, called by name so that no dispatcher
/// chooses; elsewhere what LibTorch's dispatcher takes (SDPA).
std::vector<Library> libraries(Scale scale, at::ScalarType type);

}  // namespace praxino::bench
