#include "base/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "praxino/base/error.h"
#include "praxino/base/log.h"
#include "praxino/base/safetensors.h"

namespace praxino {
namespace {

constexpr size_t kMostDimensions = 64;  // LibTorch's limit, too
// Far above any model; keeps the memory for a hostile header near the header's own size.
constexpr size_t kMostEntries = 250'000;
constexpr std::string_view kMetadata = "__metadata__";

struct Dtype {
  std::string_view name;
  int64_t size;
};
/// In the order of the reference writer, smallest first. The sub-byte types are not supported.
constexpr std::array<Dtype, 19> kDtypes = {{{"BOOL", 1},
                                            {"U8", 1},
                                            {"I8", 1},
                                            {"F8_E5M2", 1},
                                            {"F8_E4M3", 1},
                                            {"F8_E8M0", 1},
                                            {"F8_E4M3FNUZ", 1},
                                            {"F8_E5M2FNUZ", 1},
                                            {"I16", 2},
                                            {"U16", 2},
                                            {"F16", 2},
                                            {"BF16", 2},
                                            {"I32", 4},
                                            {"U32", 4},
                                            {"F32", 4},
                                            {"C64", 8},
                                            {"F64", 8},
                                            {"I64", 8},
                                            {"U64", 8}}};

const Dtype* find_dtype(std::string_view name) {
  const auto found =
      std::find_if(kDtypes.begin(), kDtypes.end(), [&](const Dtype& d) { return d.name == name; });
  return found == kDtypes.end() ? nullptr : &*found;
}

std::string shown(std::string_view name) {
  constexpr size_t kMost = 100;
  return "'" + log::escape(name.substr(0, kMost)) + (name.size() > kMost ? "...'" : "'");
}

/// Receives the JSON piece by piece and accepts exactly
/// {"__metadata__": {string: string}, name: {"dtype": string, "shape": [n...], "data_offsets": [n,
/// n]}}.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string_view place) : place_(place) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool start_object(size_t) override {
    if (depth_ == 0) {
      depth_ = 1;
    } else if (depth_ == 1) {
      depth_ = 2;
      in_metadata_ = name_ == kMetadata;
      if (in_metadata_ && std::exchange(metadata_seen_, true))
        refuse("has two entries '__metadata__'");
      entry_ = {};
      entry_.name = name_;
      fields_seen_ = {};
    } else {
      refuse_value();
    }
    return true;
  }

  bool key(std::string& text) override {
    if (depth_ == 1 || in_metadata_) {
      if (++entries_ > kMostEntries) refuse(fmt::format("has more than {} entries", kMostEntries));
    }
    if (depth_ == 1) {
      name_ = std::move(text);
      return true;
    }
    field_ = std::move(text);
    if (in_metadata_) {
      if (header_.metadata.contains(field_))
        refuse(fmt::format("has two metadata keys {}", shown(field_)));
      return true;
    }
    const auto found = std::find(kFields.begin(), kFields.end(), field_);
    if (found == kFields.end()) refuse_tensor(fmt::format("has the unknown key {}", shown(field_)));
    bool& seen = fields_seen_[static_cast<size_t>(found - kFields.begin())];
    if (std::exchange(seen, true)) refuse_tensor(fmt::format("has two keys '{}'", field_));
    return true;
  }

  bool end_object() override {
    --depth_;
    if (depth_ == 1 && !in_metadata_) {
      for (size_t i = 0; i < kFields.size(); ++i) {
        if (!fields_seen_[i]) refuse_tensor(fmt::format("has no '{}'", kFields[i]));
      }
      if (offsets_ != 2) refuse_tensor("needs exactly two data_offsets");
      header_.tensors.push_back(std::move(entry_));
    }
    in_metadata_ = false;
    return true;
  }

  bool start_array(size_t) override {
    if (depth_ != 2 || in_metadata_ || in_array_ || field_ == "dtype") refuse_value();
    in_array_ = true;
    if (field_ == "data_offsets") offsets_ = 0;
    return true;
  }

  bool end_array() override {
    in_array_ = false;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (!in_array_) refuse_value();
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) refuse_number();
    if (field_ == "shape") {
      if (entry_.shape.size() == kMostDimensions) {
        refuse_tensor(fmt::format("has more than {} dimensions", kMostDimensions));
      }
      entry_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (offsets_ == 2) refuse_tensor("needs exactly two data_offsets");
    (offsets_ == 0 ? entry_.begin : entry_.end) = value;
    ++offsets_;
    return true;
  }

  bool string(string_t& text) override {
    if (depth_ == 2 && in_metadata_) {
      header_.metadata.emplace(field_, std::move(text));
    } else if (depth_ == 2 && !in_array_ && field_ == "dtype") {
      entry_.dtype = text;
    } else {
      refuse_value();
    }
    return true;
  }

  bool null() override { refuse_value(); }
  bool boolean(bool) override { refuse_value(); }
  bool binary(binary_t&) override { refuse_value(); }
  bool number_integer(number_integer_t) override {
    if (in_array_) refuse_number();
    refuse_value();
  }
  bool number_float(number_float_t, const string_t&) override {
    if (in_array_) refuse_number();
    refuse_value();
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    refuse(fmt::format("is not JSON at byte {}", position));
  }

 private:
  static constexpr std::array<std::string_view, 3> kFields = {"dtype", "shape", "data_offsets"};

  [[noreturn]] void refuse(std::string_view what) const { fail("{} {}", place_, what); }
  [[noreturn]] void refuse_tensor(std::string_view what) const {
    fail("{}: tensor {} {}", place_, shown(name_), what);
  }
  [[noreturn]] void refuse_number() const {
    refuse_tensor(
        fmt::format("has a number in '{}' that is not a whole number from 0 to 2^63-1", field_));
  }
  [[noreturn]] void refuse_value() const {
    if (depth_ == 0) refuse("is not a JSON object");
    if (depth_ == 1) refuse(fmt::format("has the entry {}, which is not an object", shown(name_)));
    if (in_metadata_)
      refuse(fmt::format("has the metadata {}, which is not a string", shown(field_)));
    refuse_tensor(fmt::format("has the wrong type of value for '{}'", field_));
  }

  std::string_view place_;
  SafetensorsHeader header_;
  size_t entries_ = 0;  // tensors and metadata
  int depth_ = 0;
  bool in_metadata_ = false;
  bool metadata_seen_ = false;
  bool in_array_ = false;
  std::string name_;
  std::string field_;
  TensorEntry entry_;
  std::array<bool, 3> fields_seen_ = {};
  int offsets_ = 0;
};

/// Sorted by place in the data: the first entry starts at 0, each starts where the one before ends,
/// and the last ends with the file, so that no byte is hidden, missing or shared.
void check_offsets(const std::vector<TensorEntry>& tensors, uint64_t data_size,
                   std::string_view place) {
  uint64_t expected = 0;
  for (const TensorEntry& entry : tensors) {
    if (entry.begin != expected) {
      fail("{}: tensor {} starts at byte {} of the data, but the one before it ends at {} ({})",
           place, shown(entry.name), entry.begin, expected,
           entry.begin < expected ? "they overlap" : "a hole");
    }
    expected = entry.end;
  }
  if (expected != data_size) {
    fail("{}: the tensors cover {} bytes of data, but the file has {}; it is {}", place, expected,
         data_size, expected > data_size ? "cut short" : "longer than its header says");
  }
}

std::string quoted(const std::string& text) {
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail("cannot write the safetensors name or metadata {}: it is not UTF-8", shown(text));
  }
}

}  // namespace

int64_t dtype_size(std::string_view dtype) {
  const Dtype* found = find_dtype(dtype);
  if (found == nullptr) fail("unknown or unsupported dtype {}", shown(dtype));
  return found->size;
}

int dtype_rank(std::string_view dtype) {
  const Dtype* found = find_dtype(dtype);
  return found == nullptr ? -1 : static_cast<int>(found - kDtypes.data());
}

uint64_t tensor_bytes(const TensorEntry& entry, std::string_view place) {
  const Dtype* dtype = find_dtype(entry.dtype);
  if (dtype == nullptr) {
    fail("{}: tensor {} has the unknown or unsupported dtype {}", place, shown(entry.name),
         shown(entry.dtype));
  }
  int64_t bytes = dtype->size;
  for (const int64_t extent : entry.shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes)) {
      fail("{}: tensor {} has a shape whose size overflows", place, shown(entry.name));
    }
  }
  return static_cast<uint64_t>(bytes);
}

SafetensorsHeader parse_safetensors_header(std::string_view json, uint64_t data_size,
                                           std::string_view place) {
  if (!json.starts_with('{')) fail("{} does not begin with '{{'", place);
  // The JSON parser takes NUL for the end of its input and would not see what follows.
  if (json.find('\0') != std::string_view::npos) fail("{} holds a NUL byte", place);
  HeaderReader reader(place);
  nlohmann::json::sax_parse(json, &reader);
  SafetensorsHeader header = reader.take();
  auto& tensors = header.tensors;
  std::sort(tensors.begin(), tensors.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  const auto twin =
      std::adjacent_find(tensors.begin(), tensors.end(),
                         [](const auto& a, const auto& b) { return a.name == b.name; });
  if (twin != tensors.end()) fail("{} has two tensors {}", place, shown(twin->name));
  for (const TensorEntry& entry : tensors) {
    const uint64_t bytes = tensor_bytes(entry, place);
    if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
      fail(
          "{}: tensor {} needs {} bytes for its shape and dtype, but its data_offsets are {} to {}",
          place, shown(entry.name), bytes, entry.begin, entry.end);
    }
  }
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  check_offsets(tensors, data_size, place);
  return header;
}

std::string make_safetensors_header(const SafetensorsHeader& header) {
  std::string json = "{";
  const auto separate = [&] {
    if (json.size() > 1) json += ',';
  };
  if (!header.metadata.empty()) {
    json += "\"__metadata__\":{";
    std::string_view comma;
    for (const auto& [key, value] : header.metadata) {
      json += fmt::format("{}{}:{}", std::exchange(comma, ","), quoted(key), quoted(value));
    }
    json += '}';
  }
  for (const TensorEntry& entry : header.tensors) {
    separate();
    std::string shape;
    for (const int64_t extent : entry.shape) {
      shape += fmt::format("{}{}", shape.empty() ? "" : ",", extent);
    }
    json += fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        quoted(entry.name), entry.dtype, shape, entry.begin, entry.end);
  }
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  return json;
}

}  // namespace praxino
