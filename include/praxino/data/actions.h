#pragma once
// Action sidecars: reading, checking, and the one conversion from the disk's alignment and rate to
// the model's convention: actions[t] is what led INTO frame t, and frame 0 of a clip has none
// unless the frame before the clip exists.

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "praxino/config/actions.h"

namespace praxino {

/// The rows of one sidecar in the data set's field order: `rows x fields`, row-major.
struct ActionTable {
  int64_t rows = 0;
  int64_t fields = 0;
  std::vector<float> values;
  std::span<const float> row(int64_t k) const {
    return {values.data() + k * fields, static_cast<size_t>(fields)};
  }
};

/// `<stem>.actions.csv` (one header row naming the columns in any order; unknown or missing columns
/// are errors) or `<stem>.actions.safetensors` (one tensor a field, [N] or [N,1]; or one `actions`
/// [N, fields]). Values are checked against the field: button 0/1, discrete an index below size,
/// axis and delta finite (and within [low, high], or a warning).
/// Throws praxino::Error naming file, line and column.
ActionTable read_actions(const std::filesystem::path& sidecar,
                         const std::vector<ActionField>& fields);

/// The sidecar that belongs to a video file, or an empty path. Throws praxino::Error where both
/// kinds exist.
std::filesystem::path find_sidecar(const std::filesystem::path& video);

/// Combines the rows between two shown source frames into the action that leads from the first to
/// the second: for `action_at_frame` rows from .. to-1, for `action_before_frame` rows from+1 .. to
/// (from <= to; `out` has one value a field).
/// button: OR; discrete: the last row; axis: the last row (held); delta: the sum. A repeated frame
/// (from == to) has no rows: delta 0, button 0, discrete 0, axis as held by the previous row (0
/// where there is none).
/// Row k of `action_before_frame` is row k-1 of `action_at_frame`; its row 0 came before the
/// recording and is never read.
void combine_actions(const ActionTable& table, const DatasetConfig& dataset, int64_t from,
                     int64_t to, std::span<float> out);

}  // namespace praxino
