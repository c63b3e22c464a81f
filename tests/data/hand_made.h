#pragma once
// Data sets that exist only in memory: frame indices and action tables made by hand.

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "praxino/base/random.h"
#include "praxino/data/dataset.h"

namespace praxino::testing {

/// An index of frames at the given presentation times (ticks).
inline FrameIndex index_at(const std::vector<int64_t>& times, int64_t end, Rational time_base) {
  FrameIndex index;
  index.time_base = time_base;
  index.end_pts = end;
  for (const int64_t pts : times) index.frames.push_back({pts, 0});
  index.keys.push_back({times.front(), times.front(), -1});
  return index;
}

/// Frames at a constant rate, their times rounded to ticks as a container does.
inline FrameIndex steady_index(int64_t frames, Rational fps, Rational time_base = {1, 17920}) {
  std::vector<int64_t> times;
  for (int64_t i = 0; i <= frames; ++i) {
    times.push_back(((Rational(i) / fps) / time_base + Rational(1, 2)).floor());
  }
  const int64_t end = times.back();
  times.pop_back();
  return index_at(times, end, time_base);
}

/// Frames of 20 to 60 ticks of 1/1000 s.
inline FrameIndex uneven_index(int64_t frames, Random& random) {
  std::vector<int64_t> times;
  int64_t time = random.integer(500);
  for (int64_t i = 0; i < frames; ++i) {
    times.push_back(time);
    time += 20 + random.integer(41);
  }
  return index_at(times, time, Rational(1, 1000));
}

/// One field of each kind: fire (button), turn (delta), forward (axis), weapon (discrete, 9).
inline DatasetConfig four_fields(const std::string& alignment = "action_at_frame") {
  DatasetConfig config;
  config.alignment = alignment;
  const auto add = [&](const char* name, const char* kind) -> ActionField& {
    ActionField& field = config.actions.emplace_back();
    field.name = name;
    field.kind = kind;
    field.low = -100;
    field.high = 100;
    return field;
  };
  add("fire", "button");
  add("turn", "delta");
  add("forward", "axis");
  add("weapon", "discrete").size = 9;
  return config;
}
inline constexpr int64_t kTurn = 1;

/// Random rows for four_fields(); whole numbers, so that sums are exact.
inline ActionTable random_rows(int64_t rows, Random& random) {
  ActionTable table{rows, 4, {}};
  for (int64_t k = 0; k < rows; ++k) {
    table.values.push_back(static_cast<float>(random.integer(2)));
    table.values.push_back(static_cast<float>(random.integer(201) - 100));
    table.values.push_back(static_cast<float>(random.integer(201) - 100));
    table.values.push_back(static_cast<float>(random.integer(9)));
  }
  return table;
}

/// The same actions as `action_before_frame`: each row one later, in front a row that nothing may
/// read.
inline ActionTable shifted_rows(const ActionTable& table) {
  ActionTable shifted{table.rows, table.fields, std::vector<float>(table.values.size())};
  const auto fields = static_cast<size_t>(table.fields);
  std::fill_n(shifted.values.begin(), fields, 1e9F);
  std::copy(table.values.begin(), table.values.end() - static_cast<std::ptrdiff_t>(fields),
            shifted.values.begin() + static_cast<std::ptrdiff_t>(fields));
  return shifted;
}

inline SourceFile made_file(const std::string& name, FrameIndex index, ActionTable actions = {}) {
  index.file_hash = xxh3_128(name);
  return {name, name, std::make_shared<const FrameIndex>(std::move(index)), std::move(actions)};
}

/// A data set of one file.
inline Dataset one_file(DatasetConfig config, FrameIndex index, ActionTable actions = {}) {
  return Dataset("hand-made", std::move(config),
                 {made_file("a.mp4", std::move(index), std::move(actions))});
}

inline Span whole(const Dataset& dataset, int64_t file = 0) {
  return {file, 0, dataset.files()[static_cast<size_t>(file)].index->frame_count()};
}

}  // namespace praxino::testing
