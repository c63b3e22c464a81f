#pragma once
// The tables of kernels/parameter_chunks.h for a list of parameters, made on the host. Pure.

#include <ATen/core/Tensor.h>

#include <vector>

#include "kernels/parameter_chunks.h"
#include "praxino/ops/parameter_update.h"

namespace praxino::ops {

/// Consecutive parameters of one launch.
struct ParameterTable {
  size_t begin = 0;  // of the list
  std::vector<kernels::UpdatedParameter> parameters;
  std::vector<kernels::ParameterChunk> chunks;
};

/// Throws c10::Error where a tensor is not as ops::UpdatedParameter says.
std::vector<ParameterTable> parameter_tables(const std::vector<UpdatedParameter>& parameters);

}  // namespace praxino::ops
