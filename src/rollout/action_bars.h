#pragma once
// Actions drawn as bars: one line a field.

#include <cstdint>
#include <string>

#include "praxino/rollout/sheet.h"

namespace praxino {

/// Lines that draw_actions() needs: a field each, at most eight, and one that counts those left
/// out.
int64_t action_lines(const std::vector<ActionField>& fields);
constexpr int64_t kActionLineHeight = 11;

/// Names of the fields, below each other.
void draw_action_names(Canvas& canvas, int64_t y, int64_t x,
                       const std::vector<ActionField>& fields);
/// Width of the widest name.
int64_t action_names_width(const std::vector<ActionField>& fields);

/// The action into frame t in a column of `width` pixels: buttons as filled boxes, axis and delta
/// as bars from the middle with the field's range as full length, discrete as its number; "?" where
/// unknown.
struct ActionCell {
  int64_t y, x, width;
};
void draw_actions(Canvas& canvas, const ActionCell& cell, const RolloutPictures& rollout,
                  int64_t t);

}  // namespace praxino
