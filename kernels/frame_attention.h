#pragma once
// Attention over frames (include/praxino/ops/attention.h: inside a frame, over frames, and one new
// frame over a cache), forward and backward, in bfloat16 with sums in float. Who sees whom is a
// FrameMask; scores never leave the chip (Dao 2022, arXiv 2205.14135). Deterministic: no atomics,
// and the order of every sum follows from the shape. Pointers are to device memory and may not
// overlap. Launchers only queue work on the stream; they are thread-safe.
//
// Element (b, s, h, i) of an operand is at b * batch + s * token + h * head + i of its strides.
// Refused (kRefused): head widths other than 64 and 128, pointers that are not aligned to 16 bytes,
// strides that are not multiples of 8, query heads that key/value heads do not divide, key/value
// heads that places do not divide, masks out of
// range, scales that are not positive, grids above 2^31 blocks, and what the device has no shared
// memory for.

#include "kernels/bf16.h"
#include "kernels/frame_mask.h"
#include "kernels/launch.h"

namespace praxino::kernels {

/// In elements.
struct HeadStrides {
  int64_t batch = 0;
  int64_t token = 0;
  int64_t head = 0;
  constexpr PRAXINO_HOST_DEVICE int64_t at(int64_t b, int64_t h) const {
    return b * batch + h * head;
  }
};

struct HeadsIn {
  const Bf16* data = nullptr;
  HeadStrides strides;
};
struct HeadsOut {
  Bf16* data = nullptr;
  HeadStrides strides;
};

/// RMSNorm of queries and keys with a gain each, then rotary positions (include/praxino/ops/norm.h:
/// norm_rotate), in the load; results are rounded to bfloat16 as if they had been written. Without
/// gains, queries and keys are taken as they are. Tables have a row for each place of each token.
struct QkNormRotate {
  const float* query_gain = nullptr;  // width
  const float* key_gain = nullptr;
  const float* query_cos = nullptr;  // queries places x width / 2
  const float* query_sin = nullptr;
  const float* key_cos = nullptr;  // keys places x width / 2
  const float* key_sin = nullptr;
};

struct AttentionShape {
  int64_t batch = 0;      // sequences
  int64_t heads = 0;      // of queries
  int64_t key_heads = 0;  // each shared by heads / key_heads query heads
  int width = 0;          // of a head: 64 or 128
  float scale = 0;        // of scores, 1 / sqrt(width) as a rule
  FrameMask mask;
  // Along time the places of a frame lie side by side, each with heads of its own: to the kernels
  // one token with all of them. `heads` and `key_heads` count those of all places, of the first
  // place first.
  int places = 1;
  constexpr PRAXINO_HOST_DEVICE int64_t shared_by() const { return heads / key_heads; }
};

struct FrameAttention {
  HeadsIn q, k, v;
  HeadsOut out;
  float* lse =
      nullptr;  // batch x heads x queries: log of the sum of exp(scores); -inf without keys
  QkNormRotate norm;
  AttentionShape shape;
};
/// A query that sees no key gets zeros.
Status launch_frame_attention(const FrameAttention& params, Stream stream);

struct FrameAttentionBackward {
  HeadsIn q, k, v, out, grad;  // `grad` is that of out
  const float* lse = nullptr;  // as the forward pass wrote it
  HeadsOut grad_q, grad_k, grad_v;
  float* delta = nullptr;  // workspace: batch x heads x queries
  QkNormRotate norm;
  float* grad_query_gain = nullptr;  // width each; only with a norm
  float* grad_key_gain = nullptr;
  float* gain_workspace = nullptr;  // gain_workspace(shape) floats; only with a norm
  AttentionShape shape;
};
/// One pass that keeps all keys of a head on the chip where they fit; else a pass over tiles of
/// queries, and one over tiles of keys. With a norm, only the first: kRefused where it is not for
/// the shape (backward_plan).
Status launch_frame_attention_backward(const FrameAttentionBackward& params, Stream stream);

/// True where the norm belongs into the load on the current device: one pass backward, and no key
/// normalised more than twice forward.
bool takes_norm(const AttentionShape& shape);

}  // namespace praxino::kernels
