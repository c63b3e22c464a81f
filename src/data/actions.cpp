#include "praxino/data/actions.h"

#include <atomic>
#include <string>

#include "data/sidecar.h"
#include "praxino/base/error.h"
#include "praxino/base/log.h"

namespace praxino {
namespace {

bool is_continuous(const ActionField& field) {
  return field.kind == "axis" || field.kind == "delta";
}

constexpr int kRangeWarnings = 10;  // of one process: a wrong range concerns every file

// A value outside the declared range is usable, so it is told and not refused.
void warn_outside_range(const std::filesystem::path& sidecar, const ActionTable& table,
                        const std::vector<ActionField>& fields) {
  static std::atomic<int> told{0};
  for (size_t f = 0; f < fields.size(); ++f) {
    const ActionField& field = fields[f];
    if (!is_continuous(field)) continue;
    int64_t count = 0;
    int64_t first = 0;
    for (int64_t k = 0; k < table.rows; ++k) {
      const double value = table.row(k)[f];
      if (value >= field.low && value <= field.high) continue;
      if (count++ == 0) first = k;
    }
    if (count == 0 || told++ >= kRangeWarnings) continue;
    log::warning(
        "{}: '{}' leaves its range [{}, {}] in {} of {} rows, first in row {} with {}; correct the "
        "range in dataset.yaml or the sidecar",
        sidecar.string(), field.name, field.low, field.high, count, table.rows, first,
        table.row(first)[f]);
  }
}

// The rows [first, last) that lead from one shown frame to another.
struct RowRange {
  int64_t first = 0;
  int64_t last = 0;
};

float combine_field(const ActionTable& table, const ActionField& field, size_t f, RowRange rows) {
  if (field.kind == "delta") {
    double sum = 0;
    for (int64_t k = rows.first; k < rows.last; ++k) sum += table.row(k)[f];
    return static_cast<float>(sum);
  }
  if (field.kind == "button") {
    for (int64_t k = rows.first; k < rows.last; ++k) {
      if (table.row(k)[f] != 0) return 1;
    }
    return 0;
  }
  return table.row(rows.last - 1)[f];  // axis, discrete
}

}  // namespace

ActionTable read_actions(const std::filesystem::path& sidecar,
                         const std::vector<ActionField>& fields) {
  const ActionTable table = sidecar.extension() == ".safetensors"
                                ? read_actions_safetensors(sidecar, fields)
                                : read_actions_csv(sidecar, fields);
  warn_outside_range(sidecar, table, fields);
  return table;
}

std::filesystem::path find_sidecar(const std::filesystem::path& video) {
  std::filesystem::path csv = video;
  csv.replace_extension(".actions.csv");
  std::filesystem::path tensors = video;
  tensors.replace_extension(".actions.safetensors");
  const bool has_csv = std::filesystem::exists(csv);
  const bool has_tensors = std::filesystem::exists(tensors);
  if (has_csv && has_tensors) {
    fail("{} and {} both exist; keep one of them", csv.string(), tensors.filename().string());
  }
  if (has_csv) return csv;
  return has_tensors ? tensors : std::filesystem::path();
}

void combine_actions(const ActionTable& table, const DatasetConfig& dataset, int64_t from,
                     int64_t to, std::span<float> out) {
  // Row k of `action_before_frame` is row k-1 of `action_at_frame`; its row 0 came from before the
  // recording and is never read.
  const int64_t shift = dataset.alignment == "action_before_frame" ? 1 : 0;
  const RowRange rows{from + shift, to + shift};
  for (size_t f = 0; f < dataset.actions.size(); ++f) {
    const ActionField& field = dataset.actions[f];
    if (rows.first < rows.last) {
      out[f] = combine_field(table, field, f, rows);
    } else {
      const bool held = field.kind == "axis" && rows.first - 1 >= shift;
      out[f] = held ? table.row(rows.first - 1)[f] : 0.0F;
    }
  }
}

}  // namespace praxino
