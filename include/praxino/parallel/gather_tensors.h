#pragma once
// Named tensors that are spread over ranks, brought together on one.

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "praxino/parallel/communicator.h"

namespace praxino {

/// On rank 0 of `world` (a group for CPU tensors) the tensors of all ranks, on the CPU, sorted by
/// name; of a name that several ranks have, the lowest rank's. Nothing on the others. Every rank of
/// the group calls it. One tensor travels at a time.
std::vector<std::pair<std::string, at::Tensor>> gather_tensors(
    const std::vector<std::pair<std::string, at::Tensor>>& own, const Communicator& world);

}  // namespace praxino
