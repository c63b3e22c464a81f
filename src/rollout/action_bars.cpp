#include "rollout/action_bars.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace praxino {
namespace {

constexpr int64_t kMaxFields = 8;
constexpr Color kFaint{63, 63, 70};
constexpr Color kDim{161, 161, 170};
constexpr Color kBar{96, 165, 250};

int64_t shown_fields(const std::vector<ActionField>& fields) {
  return std::min<int64_t>(kMaxFields, static_cast<int64_t>(fields.size()));
}

/// From the middle to the right for positive values, to the left for negative ones.
void draw_bar(Canvas& canvas, const ActionCell& cell, const ActionField& field, double value) {
  const double range = std::max({std::abs(field.low), std::abs(field.high), 1e-12});
  const int64_t half = cell.width / 2;
  const auto length = static_cast<int64_t>(
      std::lround(std::clamp(value / range, -1.0, 1.0) * static_cast<double>(half)));
  canvas.rectangle(cell.y + 4, cell.x, 1, cell.width, kFaint);
  canvas.rectangle(cell.y + 1, cell.x + half + std::min<int64_t>(length, 0), 7,
                   std::max<int64_t>(std::abs(length), 1), length == 0 ? kFaint : kBar);
}

void draw_value(Canvas& canvas, const ActionCell& cell, const ActionField& field, float value) {
  if (field.kind == "button") {
    canvas.rectangle(cell.y + 1, cell.x, 7, cell.width, value != 0 ? kBar : kFaint);
  } else if (field.kind == "discrete") {
    canvas.text(cell.y + 1, cell.x, fmt::format("{:.0f}", value), value != 0 ? kBar : kDim);
  } else {
    draw_bar(canvas, cell, field, value);
  }
}

}  // namespace

int64_t action_lines(const std::vector<ActionField>& fields) {
  const int64_t shown = shown_fields(fields);
  return shown + (shown < static_cast<int64_t>(fields.size()) ? 1 : 0);
}

int64_t action_names_width(const std::vector<ActionField>& fields) {
  int64_t width = 0;
  for (int64_t i = 0; i < shown_fields(fields); ++i) {
    width = std::max(width, Canvas::text_width(fields[static_cast<size_t>(i)].name));
  }
  return width;
}

void draw_action_names(Canvas& canvas, int64_t y, int64_t x,
                       const std::vector<ActionField>& fields) {
  const int64_t shown = shown_fields(fields);
  for (int64_t i = 0; i < shown; ++i) {
    canvas.text(y + i * kActionLineHeight + 1, x, fields[static_cast<size_t>(i)].name, kDim);
  }
  if (shown < static_cast<int64_t>(fields.size())) {
    canvas.text(y + shown * kActionLineHeight + 1, x,
                fmt::format("+{} more", static_cast<int64_t>(fields.size()) - shown), kDim);
  }
}

void draw_actions(Canvas& canvas, const ActionCell& cell, const RolloutPictures& rollout,
                  int64_t t) {
  const bool known = rollout.known[t].item<bool>();
  for (int64_t i = 0; i < shown_fields(rollout.fields); ++i) {
    const ActionCell line{cell.y + i * kActionLineHeight, cell.x, cell.width};
    if (known) {
      draw_value(canvas, line, rollout.fields[static_cast<size_t>(i)],
                 rollout.actions[t][i].item<float>());
    } else {
      canvas.text(line.y + 1, line.x + line.width / 2 - 3, "?", kDim);
    }
  }
}

}  // namespace praxino
