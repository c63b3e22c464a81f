#pragma once
// The parts of launch_frame_attention_backward (kernels/frame_attention.h), which chooses between
// them. Parameters are in range.

#include "kernels/frame_attention_plan.h"

namespace praxino::kernels {

/// Gradient of queries, and `delta`: tiles of queries over all keys that they see.
Status launch_query_gradients(const FrameAttentionBackward& params, Stream stream);

/// Gradients of keys and values: tiles of keys over all queries that see them; `delta` is there.
Status launch_key_gradients(const FrameAttentionBackward& params, Stream stream);

/// All gradients, a block a key/value head.
Status launch_gradients_in_one_pass(const FrameAttentionBackward& params, BackwardPlan plan,
                                    Stream stream);

}  // namespace praxino::kernels
