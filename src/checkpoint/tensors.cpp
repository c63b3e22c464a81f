#include "praxino/checkpoint/tensors.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string_view>

#include "praxino/base/error.h"

namespace praxino {
namespace {

struct DtypeName {
  at::ScalarType type;
  std::string_view name;  // as the format spells it
};

constexpr std::array kDtypes = {
    DtypeName{at::kBool, "BOOL"},
    DtypeName{at::kByte, "U8"},
    DtypeName{at::kChar, "I8"},
    DtypeName{at::kShort, "I16"},
    DtypeName{at::kUInt16, "U16"},
    DtypeName{at::kHalf, "F16"},
    DtypeName{at::kBFloat16, "BF16"},
    DtypeName{at::kInt, "I32"},
    DtypeName{at::kUInt32, "U32"},
    DtypeName{at::kFloat, "F32"},
    DtypeName{at::kDouble, "F64"},
    DtypeName{at::kLong, "I64"},
    DtypeName{at::kUInt64, "U64"},
    DtypeName{at::kComplexFloat, "C64"},
    DtypeName{at::kFloat8_e4m3fn, "F8_E4M3"},
    DtypeName{at::kFloat8_e5m2, "F8_E5M2"},
    DtypeName{at::kFloat8_e8m0fnu, "F8_E8M0"},
};

/// Row-major, on the CPU, with plain memory. No copy where it already is so.
at::Tensor plain(const at::Tensor& tensor) {
  return tensor.detach().to(at::kCPU).contiguous().resolve_conj().resolve_neg();
}

RawTensor raw(const std::filesystem::path& path, const std::string& name,
              const at::Tensor& tensor) {
  const auto known = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const DtypeName& dtype) {
    return dtype.type == tensor.scalar_type();
  });
  if (known == kDtypes.end()) {
    fail("cannot write '{}': tensor '{}' has type {}, which safetensors files do not know",
         path.string(), name, c10::toString(tensor.scalar_type()));
  }
  return {.name = name,
          .dtype = std::string(known->name),
          .shape = tensor.sizes().vec(),
          .data = {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
}

}  // namespace

WrittenFile save_tensors(const std::filesystem::path& path, const NamedTensors& tensors) {
  std::vector<at::Tensor> kept;  // owns what `raws` points to
  std::vector<RawTensor> raws;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.defined() || tensor.layout() != at::kStrided || tensor.is_quantized()) {
      fail("cannot write '{}': tensor '{}' is not a dense array", path.string(), name);
    }
    kept.push_back(plain(tensor));
    raws.push_back(raw(path, name, kept.back()));
  }
  return write_safetensors(path, std::move(raws));
}

at::Tensor read_tensor(const std::filesystem::path& path, const RawTensor& stored) {
  const auto known = std::find_if(kDtypes.begin(), kDtypes.end(), [&](const DtypeName& dtype) {
    return dtype.name == stored.dtype;
  });
  if (known == kDtypes.end()) {
    fail("cannot read '{}': tensor '{}' has type {}, which LibTorch does not know", path.string(),
         stored.name, stored.dtype);
  }
  at::Tensor tensor = at::empty(stored.shape, known->type);
  if (!stored.data.empty()) {
    std::memcpy(tensor.mutable_data_ptr(), stored.data.data(), stored.data.size());
  }
  return tensor;
}

NamedTensors load_tensors(const std::filesystem::path& path,
                          const std::function<bool(const std::string&)>& wanted) {
  const SafetensorsFile file(path);
  NamedTensors tensors;
  tensors.reserve(file.tensors().size());
  for (const RawTensor& stored : file.tensors()) {
    if (wanted && !wanted(stored.name)) continue;
    tensors.emplace_back(stored.name, read_tensor(path, stored));
  }
  return tensors;
}

std::vector<std::string> copy_tensors(const NamedTensors& source, const NamedTensors& target) {
  const at::NoGradGuard no_grad;
  std::map<std::string_view, const at::Tensor*> by_name;
  for (const auto& [name, tensor] : source) by_name.emplace(name, &tensor);
  std::vector<std::string> missing;
  for (const auto& [name, tensor] : target) {
    const auto found = by_name.find(name);
    if (found != by_name.end() && found->second->sizes() == tensor.sizes()) {
      tensor.copy_(*found->second);
    } else {
      missing.push_back(name);
    }
  }
  return missing;
}

}  // namespace praxino
