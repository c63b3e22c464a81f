#pragma once
// Named tensors <-> safetensors files (praxino/base/safetensors.h). Thread-safe: no shared state.

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "praxino/base/safetensors.h"

namespace praxino {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Writes and syncs `path` (not atomically). Any dtype LibTorch and the format share, any device
/// and strides; equal tensors give equal bytes. Throws praxino::Error naming file and tensor.
WrittenFile save_tensors(const std::filesystem::path& path, const NamedTensors& tensors);
/// One tensor of the file at `path`: a CPU tensor that owns its memory. Throws praxino::Error
/// naming both.
at::Tensor read_tensor(const std::filesystem::path& path, const RawTensor& stored);
/// CPU tensors that own their memory, in file order; those whose names are `wanted`, where that is
/// given. Throws praxino::Error naming file and tensor.
NamedTensors load_tensors(const std::filesystem::path& path,
                          const std::function<bool(const std::string&)>& wanted = {});

/// Copies by name: same name and same shape load. Returns the names in `target` that were not
/// loaded, in order.
std::vector<std::string> copy_tensors(const NamedTensors& source, const NamedTensors& target);

}  // namespace praxino
