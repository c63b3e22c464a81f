#pragma once
// The JSON header of a safetensors file, checked while it is read. Internal to base.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace praxino {

struct TensorEntry {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // data_offsets
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  // in data order
  std::map<std::string, std::string> metadata;
};

/// Everything that the format demands of a header over `data_size` bytes of data, except the length
/// field: throws praxino::Error starting with `place`. Memory stays within a small multiple of the
/// header, and no input recurses.
SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_size,
                                           std::string_view place);

/// The header's text, padded to a multiple of 8; entries in the order given.
std::string make_safetensors_header(const SafetensorsHeader& header);

/// Bytes of shape x dtype; throws praxino::Error starting with `place` when it does not fit into 63
/// bits.
uint64_t tensor_bytes(const TensorEntry& entry, std::string_view place);

/// Where the reference writer sorts a dtype: larger first.
int dtype_rank(std::string_view dtype);

}  // namespace praxino
