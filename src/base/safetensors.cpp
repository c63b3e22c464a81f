#include "praxino/base/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/safetensors_header.h"
#include "praxino/base/error.h"

namespace praxino {
namespace {

constexpr uint64_t kLongestHeader = 100'000'000;  // the reference reader's limit

}  // namespace

SafetensorsFile::SafetensorsFile(std::filesystem::path path)
    : path_(std::move(path)), file_(path_) {
  const auto bytes = file_.bytes();
  const std::string place = "safetensors file '" + path_.string() + "'";
  if (bytes.size() < 8)
    fail("{} is cut short: it has {} bytes, not even a header length", place, bytes.size());
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kLongestHeader) {
    fail("{} declares a header of {} bytes; more than {} is refused (is it a safetensors file?)",
         place, length, kLongestHeader);
  }
  if (length > bytes.size() - 8) {
    fail("{} is cut short: its header should have {} bytes, but only {} follow", place, length,
         bytes.size() - 8);
  }
  const std::string_view json(reinterpret_cast<const char*>(bytes.data()) + 8, length);
  const auto data = bytes.subspan(8 + length);
  SafetensorsHeader header = parse_safetensors_header(json, data.size(), place + ": the header");
  tensors_.reserve(header.tensors.size());
  for (TensorEntry& entry : header.tensors) {
    tensors_.push_back({.name = std::move(entry.name),
                        .dtype = std::move(entry.dtype),
                        .shape = std::move(entry.shape),
                        .data = data.subspan(entry.begin, entry.end - entry.begin)});
  }
  metadata_ = std::move(header.metadata);
  by_name_.resize(tensors_.size());
  for (size_t i = 0; i < by_name_.size(); ++i) by_name_[i] = i;
  std::sort(by_name_.begin(), by_name_.end(),
            [&](size_t a, size_t b) { return tensors_[a].name < tensors_[b].name; });
}

const RawTensor* SafetensorsFile::find(std::string_view name) const {
  const auto found = std::lower_bound(
      by_name_.begin(), by_name_.end(), name,
      [&](size_t i, std::string_view wanted) { return tensors_[i].name < wanted; });
  return found != by_name_.end() && tensors_[*found].name == name ? &tensors_[*found] : nullptr;
}

WrittenFile write_safetensors(const std::filesystem::path& path, std::vector<RawTensor> tensors,
                              const std::map<std::string, std::string>& metadata) {
  const std::string place = "cannot write safetensors file '" + path.string() + "'";
  std::sort(tensors.begin(), tensors.end(), [](const RawTensor& a, const RawTensor& b) {
    return std::pair(-dtype_rank(a.dtype), std::string_view(a.name)) <
           std::pair(-dtype_rank(b.dtype), std::string_view(b.name));
  });
  SafetensorsHeader header{.tensors = {}, .metadata = metadata};
  std::map<std::string_view, int> seen;
  uint64_t offset = 0;
  for (const RawTensor& tensor : tensors) {
    TensorEntry entry{.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape};
    const bool negative =
        std::any_of(entry.shape.begin(), entry.shape.end(), [](int64_t n) { return n < 0; });
    const uint64_t size = negative ? 0 : tensor_bytes(entry, place);
    if (negative || size != tensor.data.size()) {
      fail("{}: tensor '{}' has {} bytes, which its shape and dtype do not", place, tensor.name,
           tensor.data.size());
    }
    if (tensor.name == "__metadata__" || ++seen[tensor.name] > 1) {
      fail("{}: the tensor name '{}' is {}", place, tensor.name,
           tensor.name == "__metadata__" ? "reserved" : "given twice");
    }
    entry.begin = offset;
    entry.end = offset += size;
    header.tensors.push_back(std::move(entry));
  }
  const std::string json = make_safetensors_header(header);
  if (json.size() > kLongestHeader)
    fail("{}: the header has more than {} bytes", place, kLongestHeader);
  const uint64_t length = json.size();

  OutputFile file(path);
  StreamHash hash;
  const auto put = [&](std::span<const std::byte> bytes) {
    file.write(bytes);
    hash.update(bytes);
  };
  put(std::as_bytes(std::span(&length, 1)));
  put(std::as_bytes(std::span(json)));
  for (const RawTensor& tensor : tensors) put(tensor.data);
  file.close();
  return {.size = 8 + length + offset, .hash = hash.digest()};
}

}  // namespace praxino
