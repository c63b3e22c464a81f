#pragma once
// Attention over frames for Hopper: the operation of kernels/frame_attention.h with the copy
// engine, barriers and warpgroup products. One warp loads; two or more warpgroups compute, 64 rows
// each.
// Deterministic: no atomics, and the order of every sum follows from the shape. Refuses (kRefused)
// what frame_attention.h refuses, a norm in the load, masks without keys, and strides that are not
// positive. Runs on capability 9.0 alone (kernels/tiers.h). Launchers only queue work on the
// stream; they are thread-safe.

#include "kernels/frame_attention.h"

namespace praxino::kernels {

Status launch_frame_attention_hopper(const FrameAttention& params, Stream stream);

/// A pass over tiles of queries (grad_q, and delta), then one over tiles of keys (grad_k, grad_v):
/// scores are computed in both, so that every sum is a block's own and needs no second block.
Status launch_frame_attention_backward_hopper(const FrameAttentionBackward& params, Stream stream);

/// The first of the two, for the second's file; checks nothing.
Status launch_frame_attention_hopper_queries(const FrameAttentionBackward& params, Stream stream);

}  // namespace praxino::kernels
