#pragma once
// The attentions of praxino/ops/attention.h on a GPU, as autograd functions around the kernels of
// kernels/. Arguments and results as there; without a norm, queries and keys are taken as they are.
// Each returns nothing where its kernel does not serve: no GPU that runs it, another type than
// bfloat16 (time_attention takes float32, too), head widths other than 64 and 128, no elements.
// Strides are taken as they are where rows of heads lie on 16 bytes, else the operand is copied.

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/tiers.h"
#include "praxino/ops/attention.h"

namespace praxino::ops::cuda {

/// With a norm, nothing where a separate norm_rotate moves fewer bytes (docs/kernels.md). `tier`
/// names the kernels over frames that serve, forward and backward: kPortable, or on capability 9.0
/// kHopper, which has no norm.
std::optional<at::Tensor> space_attention(const at::Tensor& q, const at::Tensor& k,
                                          const at::Tensor& v, const QkNorm* norm = nullptr,
                                          kernels::Tier tier = kernels::Tier::kPortable);
std::optional<at::Tensor> frame_causal_attention(const at::Tensor& q, const at::Tensor& k,
                                                 const at::Tensor& v, const FrameWindow& window,
                                                 kernels::Tier tier = kernels::Tier::kPortable);
std::optional<at::Tensor> frame_causal_attention_step(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    kernels::Tier tier = kernels::Tier::kPortable);
/// The same with the keys in `parts` parts, at once and then joined (kernels/join_attention.h);
/// without a number, as many as fill the device. Nothing where one part is enough, where a gradient
/// is asked for, and where parts of the cache would have to be copied.
std::optional<at::Tensor> frame_causal_attention_parts(const at::Tensor& q, const at::Tensor& k,
                                                       const at::Tensor& v, kernels::Tier tier,
                                                       std::optional<int64_t> parts = {});
std::optional<at::Tensor> time_attention(const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, const FrameWindow& window);
std::optional<at::Tensor> time_attention(const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, const QkNorm& norm,
                                         const FrameWindow& window);
/// The same by the kernels over frames, a token a frame: up to kMostLongFrames frames. With a norm,
/// nothing where those take none in the load (docs/kernels.md).
inline constexpr int64_t kMostLongFrames = 256;
std::optional<at::Tensor> time_attention_long(const at::Tensor& q, const at::Tensor& k,
                                              const at::Tensor& v, const QkNorm* norm,
                                              const FrameWindow& window);
/// Nothing where a gradient is asked for. Frames of the cache lie together in each batch row.
std::optional<at::Tensor> time_attention_step(const at::Tensor& q, const at::Tensor& k,
                                              const at::Tensor& v, const QkNorm& norm);

/// The same where a kernel has agreed with its formula on the device, by the best that has.
namespace checked {
std::optional<at::Tensor> space_attention(const at::Tensor& q, const at::Tensor& k,
                                          const at::Tensor& v, const QkNorm* norm = nullptr);
std::optional<at::Tensor> frame_causal_attention(const at::Tensor& q, const at::Tensor& k,
                                                 const at::Tensor& v, const FrameWindow& window);
std::optional<at::Tensor> frame_causal_attention_step(const at::Tensor& q, const at::Tensor& k,
                                                      const at::Tensor& v);
std::optional<at::Tensor> time_attention(const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, const FrameWindow& window);
std::optional<at::Tensor> time_attention(const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v, const QkNorm& norm,
                                         const FrameWindow& window);
/// Nothing where a gradient is asked for. Frames of the cache lie together in each batch row.
std::optional<at::Tensor> time_attention_step(const at::Tensor& q, const at::Tensor& k,
                                              const at::Tensor& v, const QkNorm& norm);
}  // namespace checked

}  // namespace praxino::ops::cuda
