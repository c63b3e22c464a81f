#pragma once
// The nearest entry of a codebook for Hopper: the operation and the steps of
// kernels/nearest_code.h, candidates by the copy engine, barriers and warpgroup products. Runs on
// capability 9.0 alone (kernels/tiers.h). Launchers only queue work on the stream; they are
// thread-safe.

#include "kernels/nearest_code.h"

namespace praxino::kernels {

/// As launch_nearest_code: the same range, equal results.
Status launch_nearest_code_hopper(const NearestCode& params, Stream stream);

/// The step that differs. A lane's list holds none but scores that were within twice the error
/// bound of the best of its row so far.
Status launch_search_codebook_hopper(const NearestCode& params, Stream stream);

}  // namespace praxino::kernels
