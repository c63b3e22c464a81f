#include "praxino/ops/attention.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/stack.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <vector>

#include "attention_cuda.h"
#include "blocked_attention.h"
#include "fused_cuda.h"
#include "planned_attention.h"
#include "praxino/ops/norm.h"
#include "praxino/ops/planned_device.h"

namespace praxino::ops {
namespace {

// R S H K -> R S H K, by the library's R H S K.
at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const std::optional<at::Tensor>& mask = {}, bool causal = false) {
  if (q.is_meta()) return planned_attention(q, k, v);
  return at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                          mask,
                                          /*dropout_p=*/0.0, causal, /*scale=*/std::nullopt,
                                          /*enable_gqa=*/q.size(2) != k.size(2))
      .transpose(1, 2);
}

// Q x K booleans over frames.
at::Tensor frame_mask(int64_t frames, const FrameWindow& window, const at::Device& device) {
  const at::Tensor i = at::arange(frames, device).unsqueeze(1);
  const at::Tensor j = at::arange(frames, device).unsqueeze(0);
  at::Tensor near = j.le(i);
  if (window.window > 0)
    near = near.logical_and((i - j).lt(window.window).logical_or(j.lt(window.sinks)));
  return near;
}

bool sees_all(const FrameWindow& window, int64_t frames) {
  return window.window == 0 || window.window + window.sinks >= frames;
}

// Along time the places of a frame are independent, so they join the heads: no copy, one batch row
// a clip.
at::Tensor places_as_heads(const at::Tensor& x) { return x.flatten(2, 3); }

// On the CPU short rows go through blocks, which compute nothing that a mask would throw away
// (docs/benchmarks/cpu.md). Rows of thousands of keys would keep too many probabilities for the
// backward pass.
constexpr int64_t kMostBlockedKeys = 2048;

bool use_blocks(const at::Tensor& q, int64_t keys) {
  return computing_device(q) == at::kCPU && keys <= kMostBlockedKeys;
}

// R S H K -> (R H) S K, with key/value heads repeated to `heads`.
at::Tensor heads_first(const at::Tensor& x, int64_t heads) {
  const at::Tensor all = x.size(2) == heads ? x : x.repeat_interleave(heads / x.size(2), 2);
  return all.transpose(1, 2).reshape({-1, x.size(1), x.size(3)});
}

// R S H K inputs, frames of `tokens`.
at::Tensor attend_blocks(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         int64_t tokens, int64_t window) {
  const int64_t heads = q.size(2);
  return blocked_attention(heads_first(q, heads), heads_first(k, heads), heads_first(v, heads),
                           tokens, window)
      .view({q.size(0), heads, q.size(1), q.size(3)})
      .transpose(1, 2);
}

// A mask of all tokens by all tokens is one byte for each pair: above this many, there is none.
constexpr int64_t kMostMaskedKeys = 4096;

// B T N H K, a frame of queries at a time over the frames that it sees: no mask.
at::Tensor attend_by_frames(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const FrameWindow& window) {
  std::vector<at::Tensor> results;
  for (int64_t frame = 0; frame < q.size(1); ++frame) {
    const int64_t first = window.window > 0 ? std::max<int64_t>(0, frame - window.window + 1) : 0,
                  sinks = std::min(window.sinks, first);
    const auto seen = [&](const at::Tensor& x) {
      const at::Tensor near = x.narrow(1, first, frame + 1 - first);
      return (sinks > 0 ? at::cat({x.narrow(1, 0, sinks), near}, 1) : near).flatten(1, 2);
    };
    results.push_back(attend(q.select(1, frame), seen(k), seen(v)));
  }
  return at::stack(results, 1);
}

// Normalized and rotated. x: B T N H K, or any of its leading dims in one.
at::Tensor ready(const at::Tensor& x, const at::Tensor& gain, const RopeTable& table) {
  const at::Tensor rows = x.reshape({-1, table.cos.size(0), x.size(-2), x.size(-1)});
  return norm_rotate(rows, gain, table.cos, table.sin).view(x.sizes());
}

struct Ready {
  at::Tensor q, k;
};

Ready ready(const at::Tensor& q, const at::Tensor& k, const QkNorm& norm) {
  return {ready(q, norm.query_gain, norm.queries), ready(k, norm.key_gain, norm.keys)};
}

Ready ready_for_step(const at::Tensor& q, const at::Tensor& k, const QkNorm& norm) {
  return {ready(q, norm.query_gain, norm.queries).to(k.scalar_type()),
          rotate(k.flatten(1, 2), norm.keys.cos, norm.keys.sin).view(k.sizes())};
}

}  // namespace

namespace formula {

at::Tensor space_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  if (use_blocks(q, q.size(2))) {
    return attend_blocks(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), q.size(2), 0)
        .reshape(q.sizes());
  }
  return attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)).reshape(q.sizes());
}

at::Tensor time_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const FrameWindow& window) {
  const bool all = sees_all(window, q.size(1));
  const auto mask = all ? std::nullopt : std::optional(frame_mask(q.size(1), window, q.device()));
  const auto operand = [](const at::Tensor& x) {
    return places_as_heads(computing_device(x) == at::kCPU ? x.to(at::kFloat) : x);
  };
  return attend(operand(q), operand(k), operand(v), mask, all)
      .reshape(q.sizes())
      .to(q.scalar_type());
}

at::Tensor frame_causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const FrameWindow& window) {
  TORCH_CHECK(q.dim() == 5 && k.dim() == 5 && k.sizes() == v.sizes() &&
                  k.sizes().slice(0, 3) == q.sizes().slice(0, 3),
              "frame_causal_attention: keys of ", k.sizes(), " and values of ", v.sizes(),
              " do not belong to the frames of queries of ", q.sizes());
  const int64_t n = q.size(2);
  if (use_blocks(q, q.size(1) * n) && (window.sinks == 0 || sees_all(window, q.size(1)))) {
    const int64_t seen = sees_all(window, q.size(1)) ? 0 : window.window;
    return attend_blocks(q.flatten(1, 2), k.flatten(1, 2), v.flatten(1, 2), n, seen)
        .reshape(q.sizes());
  }
  // On a GPU the kernel computes the mask from indices.
  if (q.is_meta() && computing_device(q) != at::kCPU)
    return planned_attention(q.flatten(1, 2), k.flatten(1, 2), v.flatten(1, 2)).view(q.sizes());
  if (!q.is_meta() && q.size(1) * n > kMostMaskedKeys) return attend_by_frames(q, k, v, window);
  const at::Tensor frames = frame_mask(q.size(1), window, q.device());
  const at::Tensor mask = frames.repeat_interleave(n, 0).repeat_interleave(n, 1);
  return attend(q.flatten(1, 2), k.flatten(1, 2), v.flatten(1, 2), mask).reshape(q.sizes());
}

at::Tensor time_attention_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  return attend(places_as_heads(q), places_as_heads(k), places_as_heads(v)).reshape(q.sizes());
}

at::Tensor frame_causal_attention_step(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v) {
  return attend(q.flatten(1, 2), k.flatten(1, 2), v.flatten(1, 2)).reshape(q.sizes());
}

}  // namespace formula

at::Tensor space_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  if constexpr (cuda::kBuilt) {
    if (const auto y = cuda::checked::space_attention(q, k, v)) return *y;
  }
  return formula::space_attention(q, k, v);
}

at::Tensor time_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const FrameWindow& window) {
  if constexpr (cuda::kBuilt) {
    if (const auto o = cuda::checked::time_attention(q, k, v, window)) return *o;
  }
  return formula::time_attention(q, k, v, window);
}

at::Tensor frame_causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const FrameWindow& window) {
  if constexpr (cuda::kBuilt) {
    if (const auto y = cuda::checked::frame_causal_attention(q, k, v, window)) return *y;
  }
  return formula::frame_causal_attention(q, k, v, window);
}

at::Tensor time_attention_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  return formula::time_attention_step(q, k, v);
}

at::Tensor frame_causal_attention_step(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v) {
  if constexpr (cuda::kBuilt) {
    if (const auto y = cuda::checked::frame_causal_attention_step(q, k, v)) return *y;
  }
  return formula::frame_causal_attention_step(q, k, v);
}

at::Tensor space_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const QkNorm& norm) {
  if constexpr (cuda::kBuilt) {
    if (const auto y = cuda::checked::space_attention(q, k, v, &norm)) return *y;
  }
  const Ready in = ready(q, k, norm);
  return space_attention(in.q, in.k, v);
}

at::Tensor time_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const QkNorm& norm, const FrameWindow& window) {
  if constexpr (cuda::kBuilt) {
    if (const auto o = cuda::checked::time_attention(q, k, v, norm, window)) return *o;
  }
  const Ready in = ready(q, k, norm);
  return time_attention(in.q, in.k, v, window);
}

at::Tensor frame_causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const QkNorm& norm, const FrameWindow& window) {
  const Ready in = ready(q, k, norm);
  return frame_causal_attention(in.q, in.k, v, window);
}

at::Tensor time_attention_step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const QkNorm& norm) {
  if constexpr (cuda::kBuilt) {
    if (const auto o = cuda::checked::time_attention_step(q, k, v, norm)) return *o;
  }
  const Ready in = ready_for_step(q, k, norm);
  return time_attention_step(in.q, in.k, v);
}

at::Tensor frame_causal_attention_step(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v, const QkNorm& norm) {
  const Ready in = ready_for_step(q, k, norm);
  return frame_causal_attention_step(in.q, in.k, v);
}

}  // namespace praxino::ops
