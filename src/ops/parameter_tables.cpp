#include "parameter_tables.h"

namespace praxino::ops {
namespace {

// The memory of a float32 tensor that belongs to `weight`; null where it is undefined.
float* memory_of(const at::Tensor& tensor, const at::Tensor& weight, const char* what) {
  if (!tensor.defined()) return nullptr;
  TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.is_contiguous() &&
                  tensor.numel() == weight.numel() && tensor.device() == weight.device(),
              "ParameterUpdate: ", what, " must be contiguous float32 of ", weight.numel(),
              " elements beside its weight, not ", tensor.toString(), " of ", tensor.sizes());
  return static_cast<float*>(tensor.mutable_data_ptr());
}

kernels::UpdatedParameter row_of(const UpdatedParameter& from, int64_t offset) {
  TORCH_CHECK(from.weight.defined(), "ParameterUpdate: a parameter without weight");
  kernels::UpdatedParameter row{.weight = memory_of(from.weight, from.weight, "a weight"),
                                .first = memory_of(from.first, from.weight, "a first moment"),
                                .second = memory_of(from.second, from.weight, "a second moment"),
                                .average = memory_of(from.average, from.weight, "an average"),
                                .count = from.weight.numel(),
                                .offset = offset,
                                .rate = static_cast<float>(from.rate),
                                .decay = static_cast<float>(from.decay)};
  if (from.copy.defined()) {
    TORCH_CHECK(from.copy.is_contiguous() && from.copy.numel() == row.count &&
                    from.copy.device() == from.weight.device(),
                "ParameterUpdate: a copy must be contiguous, of its weight's size, beside it");
    row.copy = from.copy.mutable_data_ptr();
  }
  return row;
}

}  // namespace

std::vector<ParameterTable> parameter_tables(const std::vector<UpdatedParameter>& parameters) {
  std::vector<ParameterTable> tables;
  int64_t offset = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (i % kernels::kMostParameters == 0)
      tables.push_back({.begin = i, .parameters = {}, .chunks = {}});
    ParameterTable& table = tables.back();
    const auto number = static_cast<int32_t>(table.parameters.size());
    table.parameters.push_back(row_of(parameters[i], offset));
    const int64_t count = table.parameters.back().count;
    for (int64_t chunk = 0; chunk < kernels::chunks_of_parameter(count); ++chunk)
      table.chunks.push_back({number, static_cast<int32_t>(chunk)});
    offset += count;
  }
  return tables;
}

}  // namespace praxino::ops
