#pragma once
// The mesh that a run's ranks form.

#include <cstdint>

#include "praxino/config/run.h"
#include "praxino/parallel/mesh.h"

namespace praxino {

/// The mesh of `ranks` ranks as parallel.data, .context and .tensor ask for it; data 0 takes the
/// ranks that the other axes leave. Pure. Throws praxino::Error (wrong usage) where the numbers
/// contradict each other or parallel.shard_weights lacks what it needs, or the batch, the frames of
/// a clip, the tokens of a frame or the heads cannot be shared by so many.
MeshShape mesh_shape(const RunConfig& config, int64_t ranks);

}  // namespace praxino
