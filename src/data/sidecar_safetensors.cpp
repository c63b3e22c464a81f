#include <cstring>

#include "data/sidecar.h"
#include "praxino/base/error.h"
#include "praxino/base/safetensors.h"

namespace praxino {
namespace {

template <class T>
double element_as(const RawTensor& tensor, int64_t i) {
  T value;
  std::memcpy(&value, tensor.data.data() + static_cast<size_t>(i) * sizeof(T), sizeof(T));
  return static_cast<double>(value);
}

using Element = double (*)(const RawTensor&, int64_t);

Element element_reader(const std::filesystem::path& file, const RawTensor& tensor) {
  if (tensor.dtype == "F32") return element_as<float>;
  if (tensor.dtype == "F64") return element_as<double>;
  if (tensor.dtype == "I64") return element_as<int64_t>;
  if (tensor.dtype == "I32") return element_as<int32_t>;
  if (tensor.dtype == "I16") return element_as<int16_t>;
  if (tensor.dtype == "I8") return element_as<int8_t>;
  if (tensor.dtype == "U8" || tensor.dtype == "BOOL") return element_as<uint8_t>;
  fail("{}: tensor '{}' is {}; store actions as F32, F64, I64, I32, I16, I8, U8 or BOOL",
       file.string(), tensor.name, tensor.dtype);
}

// Rows of a tensor that holds `columns` values a frame.
int64_t rows_of(const std::filesystem::path& file, const RawTensor& tensor, int64_t columns) {
  const std::vector<int64_t>& shape = tensor.shape;
  const bool vector = shape.size() == 1 && columns == 1;
  const bool matrix = shape.size() == 2 && shape[1] == columns;
  if (!vector && !matrix) {
    fail("{}: tensor '{}' must have the shape {}", file.string(), tensor.name,
         columns == 1 ? std::string("[frames] or [frames, 1]")
                      : fmt::format("[frames, {}], a column an action field", columns));
  }
  return shape[0];
}

// Copies column `column` of a tensor with `columns` of them to field `f` of the table.
struct Column {
  int64_t column = 0;
  int64_t columns = 1;
  size_t field = 0;
};

void copy_column(const std::filesystem::path& file, const RawTensor& tensor,
                 const ActionField& field, Column from, ActionTable& table) {
  const Element element = element_reader(file, tensor);
  for (int64_t k = 0; k < table.rows; ++k) {
    const double value = element(tensor, k * from.columns + from.column);
    const std::string problem = value_problem(field, value);
    if (!problem.empty()) {
      fail("{}: tensor '{}', row {}, field '{}': {} {}", file.string(), tensor.name, k, field.name,
           value, problem);
    }
    table.values[static_cast<size_t>(k * table.fields) + from.field] = static_cast<float>(value);
  }
}

bool is_field(const std::vector<ActionField>& fields, const std::string& name) {
  for (const ActionField& field : fields) {
    if (field.name == name) return true;
  }
  return false;
}

ActionTable table_of(int64_t rows, const std::vector<ActionField>& fields) {
  ActionTable table;
  table.rows = rows;
  table.fields = static_cast<int64_t>(fields.size());
  table.values.resize(static_cast<size_t>(rows) * fields.size());
  return table;
}

}  // namespace

ActionTable read_actions_safetensors(const std::filesystem::path& file,
                                     const std::vector<ActionField>& fields) {
  const SafetensorsFile tensors(file);
  const RawTensor* matrix = is_field(fields, "actions") ? nullptr : tensors.find("actions");
  for (const RawTensor& tensor : tensors.tensors()) {
    if (matrix ? &tensor == matrix : is_field(fields, tensor.name)) continue;
    fail("{}: unknown tensor '{}'; dataset.yaml declares {}", file.string(), tensor.name,
         field_names(fields));
  }
  const auto columns = static_cast<int64_t>(fields.size());
  if (matrix) {
    ActionTable table = table_of(rows_of(file, *matrix, columns), fields);
    for (size_t f = 0; f < fields.size(); ++f) {
      copy_column(file, *matrix, fields[f], {static_cast<int64_t>(f), columns, f}, table);
    }
    return table;
  }
  ActionTable table;
  for (size_t f = 0; f < fields.size(); ++f) {
    const RawTensor* tensor = tensors.find(fields[f].name);
    if (!tensor) fail("{}: tensor '{}' is missing", file.string(), fields[f].name);
    const int64_t rows = rows_of(file, *tensor, 1);
    if (f == 0) table = table_of(rows, fields);
    if (rows != table.rows) {
      fail("{}: tensor '{}' has {} rows but '{}' has {}", file.string(), tensor->name, rows,
           fields[0].name, table.rows);
    }
    copy_column(file, *tensor, fields[f], {0, 1, f}, table);
  }
  return table;
}

}  // namespace praxino
