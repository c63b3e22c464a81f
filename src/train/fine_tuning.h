#pragma once
// A new run that begins with the weights of a trained model (--from).

#include "praxino/checkpoint/stored_tensors.h"
#include "praxino/layers/parameters.h"
#include "praxino/rollout/world.h"

namespace praxino {

/// Says in the log what of `source` the model of `world` will take, and every tensor that it will
/// not, or not in full. Throws praxino::Error when nothing fits.
void tell_fit(const StoredWorld& source, const World& world);

/// Copies what fits into the parameters of `own`, which may be one rank's share and parts of split
/// matrices: one tensor at a time, by name where the shape agrees; where only the number of rows
/// differs, the common rows. Throws praxino::Error naming the file that cannot be read.
void adopt_weights(const StoredTensors& source, const Parameters& own);

}  // namespace praxino
