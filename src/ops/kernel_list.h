#pragma once
// The kernels, one line each. A kernel that several tiers have stands here once for each of them,
// the best first: each is checked, taken and turned down by itself.

namespace praxino::ops::cuda {

// ROW(name, op, family, tier, types): `name` is Kernel::name, and cuda::check_of_name (in any
// src/ops/*_cuda.cpp) makes its check; `op` is the function of praxino::ops; types are kFloat32,
// kBfloat16 or kBoth.
#define PRAXINO_KERNELS(ROW)                                                                  \
  ROW(space_attention_hopper, space_attention, kAttention, kHopper, kBfloat16)                \
  ROW(space_attention, space_attention, kAttention, kPortable, kBfloat16)                     \
  ROW(frame_causal_attention_hopper, frame_causal_attention, kAttention, kHopper, kBfloat16)  \
  ROW(frame_causal_attention, frame_causal_attention, kAttention, kPortable, kBfloat16)       \
  ROW(frame_causal_attention_parts, frame_causal_attention, kAttention, kPortable, kBfloat16) \
  ROW(time_attention, time_attention, kAttention, kPortable, kBoth)                           \
  ROW(time_attention_long, time_attention, kAttention, kPortable, kBfloat16)                  \
  ROW(time_attention_step, time_attention_step, kAttention, kPortable, kBoth)                 \
  ROW(norm_modulate, norm_modulate, kNorm, kPortable, kBoth)                                  \
  ROW(gate_add, gate_add, kNorm, kPortable, kBoth)                                            \
  ROW(gate_add_norm, gate_add_norm, kNorm, kPortable, kBoth)                                  \
  ROW(norm_rotate, norm_rotate, kNorm, kPortable, kBoth)                                      \
  ROW(rotate, rotate, kNorm, kPortable, kBoth)                                                \
  ROW(swiglu, swiglu, kMlp, kPortable, kBoth)                                                 \
  ROW(patchify, patchify, kTokens, kPortable, kBoth)                                          \
  ROW(unpatchify, unpatchify, kTokens, kPortable, kBoth)                                      \
  ROW(patchify_yuv, patchify_yuv, kTokens, kPortable, kBoth)                                  \
  ROW(fsq, finite_scalar_quantize, kTokens, kPortable, kBoth)                                 \
  ROW(patch_embed, patch_embed, kTokens, kPortable, kBfloat16)                                \
  ROW(nearest_code_hopper, nearest_code, kTokens, kHopper, kBoth)                             \
  ROW(nearest_code, nearest_code, kTokens, kPortable, kBoth)                                  \
  ROW(code_sums, code_statistics, kTokens, kPortable, kBoth)                                  \
  ROW(cross_entropy, cross_entropy, kLoss, kPortable, kBoth)                                  \
  ROW(step_values, step_values, kOptimizer, kPortable, kBoth)                                 \
  ROW(adamw, adamw, kOptimizer, kPortable, kBoth)                                             \
  ROW(muon, muon, kOptimizer, kPortable, kBoth)

}  // namespace praxino::ops::cuda
