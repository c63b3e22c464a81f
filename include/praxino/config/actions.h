#pragma once
// What an action is: the typed fields of a data set, shared by data (which reads them), model
// (which embeds them) and rollout (which lets a person set them). A row of actions is one float a
// field, in this order: button 0 or 1, discrete the index, axis and delta the recorded value.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "praxino/config/fields.h"

namespace praxino {

struct ActionField {
  std::string name;
  std::string kind = "button";  // button | discrete | axis | delta
  double low = -1;              // axis, delta: the range that occurs
  double high = 1;
  int64_t size = 2;       // discrete: number of values, 0 .. size-1
  std::string unit = {};  // for people
  /// axis, delta: the largest magnitude that occurs; the model sees values in units of it.
  double reach() const { return std::max(std::abs(low), std::abs(high)); }
  /// Its size means something: axis or delta.
  bool is_number() const { return kind == "axis" || kind == "delta"; }
  bool operator==(const ActionField&) const = default;
};

template <class Visitor>
void visit_fields(Visitor& v, ActionField& c) {
  v(Field{.key = "name", .about = "column of the sidecar"}, c.name);
  v(Field{.key = "kind",
          .about = "button: 0 or 1, OR-ed in time; discrete: 0..size-1, the last counts; axis: a "
                   "held value; "
                   "delta: a change, summed in time",
          .choices = {"button", "discrete", "axis", "delta"}},
    c.kind);
  v(Field{.key = "low", .about = "axis, delta: lowest value that occurs"}, c.low);
  v(Field{.key = "high", .about = "axis, delta: highest value that occurs"}, c.high);
  v(Field{.key = "size", .about = "discrete: number of values", .low = 2, .high = 4096}, c.size);
  v(Field{.key = "unit", .about = "unit, for people"}, c.unit);
}

/// The fields as far as their meaning goes: units are for people, and a change of wording is no
/// other action.
inline std::vector<ActionField> without_units(std::vector<ActionField> fields) {
  for (ActionField& field : fields) field.unit.clear();
  return fields;
}

/// dataset.yaml of a data set folder.
struct DatasetConfig {
  std::string name;
  double fps = 0;  // frames a second of the recordings; 0: from the files
  std::string alignment = "action_at_frame";  // action_at_frame | action_before_frame
  std::vector<ActionField> actions;           // empty: unlabelled video
};

template <class Visitor>
void visit_fields(Visitor& v, DatasetConfig& c) {
  v(Field{.key = "name", .about = "name of the data set, for people"}, c.name);
  v(Field{.key = "fps",
          .about = "frames a second of the recordings; 0: as the files say",
          .low = 0,
          .high = 1000},
    c.fps);
  v(Field{.key = "alignment",
          .about =
              "action_at_frame: row k is applied while frame k is shown and leads to frame k+1; "
              "action_before_frame: row k led into frame k",
          .choices = {"action_at_frame", "action_before_frame"}},
    c.alignment);
  v(Field{.key = "actions", .about = "the action fields, one entry a sidecar column"}, c.actions);
}

}  // namespace praxino
