#pragma once
// The bandwidth-bound operations between matrix products, each fused into one pass over memory
// forward and one backward, on the CPU and by kernels on a GPU, and written as ATen formulas
// (namespace formula: the specification and the oracle of tests), which serve elsewhere. Pure
// functions, thread-safe, differentiable once: where a gradient of the gradient is asked for
// (create_graph), the fused ones are a c10::Error, and the formulas have it. Results do not depend
// on the number of threads, except for the gradients of gains (sums over rows).

#include <ATen/core/Tensor.h>

namespace praxino::ops {

/// RMSNorm, then modulation by frame: y = x / rms(x) * (1 + scale) + shift, rms over the last dim
/// with eps 1e-6. x: B T N D float32; scale, shift: B T D float32, broadcast over N; y: `dtype`.
/// (Zhang and Sennrich 2019, arXiv 1910.07467; modulation as in DiT, arXiv 2212.09748.)
at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift,
                         at::ScalarType dtype);

/// x + gate * branch. x: B T N D float32; gate: B T D float32; branch: B T N D of any float dtype;
/// result float32.
at::Tensor gate_add(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& branch);

/// A norm's scale and shift by frame.
struct Modulation {
  at::Tensor scale;  // B T D float32
  at::Tensor shift;
};

/// The residual stream behind a branch, and what the next branch sees of it.
struct GatedSum {
  at::Tensor sum;   // float32
  at::Tensor norm;  // of the type that was asked for
};

/// gate_add, then norm_modulate of its result: sum = x + gate * branch, norm = sum / rms(sum) *
/// (1 + scale) + shift of type `dtype`. Arguments as there. One pass over memory forward and one
/// backward, which takes the gradients of both results; one that did not come in costs nothing.
/// The GPU has a kernel for branch and norm of one type, float32 or bfloat16; others take the two
/// operations.
GatedSum gate_add_norm(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& branch,
                       const Modulation& modulation, at::ScalarType dtype);

/// silu(a) * b for ab = [a | b] along the last dim: ... 2F -> ... F, same dtype (Shazeer 2020,
/// arXiv 2002.05202).
at::Tensor swiglu(const at::Tensor& ab);

/// RMSNorm over the head width with a learned gain, then rotary positions (Su et al., arXiv
/// 2104.09864; halves, not interleaved pairs). x: R S H K of any float dtype (rows, positions,
/// heads, head width); gain: K; cos, sin: S K/2 float32 (ops/rope.h); result R S H K in x's dtype.
at::Tensor norm_rotate(const at::Tensor& x, const at::Tensor& gain, const at::Tensor& cos,
                       const at::Tensor& sin);

namespace formula {
at::Tensor norm_modulate(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& shift,
                         at::ScalarType dtype);
at::Tensor gate_add(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& branch);
GatedSum gate_add_norm(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& branch,
                       const Modulation& modulation, at::ScalarType dtype);
at::Tensor swiglu(const at::Tensor& ab);
at::Tensor norm_rotate(const at::Tensor& x, const at::Tensor& gain, const at::Tensor& cos,
                       const at::Tensor& sin);
}  // namespace formula

}  // namespace praxino::ops
