#include "praxino/data/show.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "praxino/base/error.h"
#include "praxino/base/random.h"
#include "praxino/data/clip.h"
#include "praxino/video/reader.h"
#include "praxino/video/writer.h"

namespace praxino {
namespace {

constexpr Color kText{228, 228, 231};
constexpr Color kFaint{130, 130, 140};
constexpr Color kTrack{52, 52, 58};
constexpr Color kLit{74, 222, 128};
constexpr Color kPositive{96, 165, 250};
constexpr Color kNegative{251, 146, 60};

constexpr int64_t kMargin = 10;
constexpr int64_t kGap = 6;
constexpr int64_t kRow = 13;  // height of one line of text or one field
constexpr int64_t kHeading = 20;
constexpr int64_t kSmallest = 128;  // small pictures are enlarged to about this width,
constexpr int64_t kLargest = 240;   // large ones reduced to this
constexpr int64_t kMostPixels = 64 << 20;

// Where everything stands; equal for all clips.
struct Sheet {
  int64_t picture_height, picture_width;  // as read
  int64_t scale;                          // enlargement on the sheet
  int64_t labels;                         // width of the column with the field names
  int64_t fields;
  int64_t clips, frames;

  int64_t cell_width() const { return picture_width * scale; }
  int64_t cell_height() const { return picture_height * scale; }
  int64_t clip_height() const { return kRow + cell_height() + 4 + kRow * (1 + fields) + 2 * kGap; }
  int64_t width() const { return 2 * kMargin + labels + frames * (cell_width() + kGap) - kGap; }
  int64_t clip_top(int64_t i) const { return kMargin + kHeading + i * clip_height(); }
  int64_t height() const { return clip_top(clips) - 2 * kGap + kMargin; }
  int64_t frame_left(int64_t t) const { return kMargin + labels + t * (cell_width() + kGap); }
};

Sheet plan_sheet(const Dataset& dataset, const ShowOptions& options) {
  const FrameIndex& first = *dataset.files().front().index;
  const auto height = static_cast<double>(first.shown_height());
  const auto width = static_cast<double>(first.shown_width());
  const double shrink = std::min(1.0, static_cast<double>(kLargest) / std::max(height, width));
  Sheet sheet{};
  sheet.picture_height = std::max<int64_t>(1, std::llround(shrink * height));
  sheet.picture_width = std::max<int64_t>(1, std::llround(shrink * width));
  sheet.scale = std::max<int64_t>(1, (kSmallest + sheet.picture_width / 2) / sheet.picture_width);
  sheet.clips = options.clips;
  sheet.frames = options.frames;
  const std::vector<ActionField>& fields = dataset.config().actions;
  sheet.fields = static_cast<int64_t>(fields.size());
  for (const ActionField& field : fields) {
    sheet.labels = std::max(sheet.labels, Canvas::text_width(field.name) + kGap);
  }
  if (sheet.height() * sheet.width() > kMostPixels) {
    fail_usage(
        "data show: a sheet of {} clips with {} frames would have {}x{} pixels; ask for fewer",
        options.clips, options.frames, sheet.width(), sheet.height());
  }
  return sheet;
}

// A value as a bar from the middle of its range's track, positive to the right.
void draw_bar(Canvas& canvas, int64_t y, int64_t x, int64_t width, double share) {
  const int64_t half = width / 2;
  const int64_t length = std::llround(std::min(1.0, std::abs(share)) * static_cast<double>(half));
  canvas.rectangle(y, x, 7, width, kTrack);
  if (share != 0) {
    canvas.rectangle(y, share > 0 ? x + half : x + half - length, 7, std::max<int64_t>(1, length),
                     share > 0 ? kPositive : kNegative);
  }
  canvas.rectangle(y, x + half, 7, 1, kFaint);
}

void draw_field(Canvas& canvas, const ActionField& field, double value, int64_t y,
                const Sheet& sheet, int64_t t) {
  const int64_t left = sheet.frame_left(t);
  const int64_t number_width = std::min<int64_t>(42, sheet.cell_width() / 2);
  const int64_t width = sheet.cell_width() - number_width;
  const std::string number = fmt::format("{:.4g}", value);
  if (field.kind == "button") {
    canvas.rectangle(y, left, 7, width, value != 0 ? kLit : kTrack);
  } else if (field.kind == "discrete") {
    const int64_t most = std::max<int64_t>(1, field.size - 1);
    const double step = static_cast<double>(width) / static_cast<double>(most + 1);
    canvas.rectangle(y, left, 7, width, kTrack);
    canvas.rectangle(y, left + static_cast<int64_t>(step * value), 7,
                     std::max<int64_t>(2, static_cast<int64_t>(step)), value != 0 ? kLit : kFaint);
  } else {
    const double reach = std::max({std::abs(field.low), std::abs(field.high), 1e-9});
    draw_bar(canvas, y, left, width, value / reach);
  }
  canvas.text(y, left + width + 5, number, value != 0 ? kText : kFaint);
}

void draw_actions(Canvas& canvas, const Dataset& dataset, const ClipPlan& plan, int64_t top,
                  const Sheet& sheet) {
  const std::vector<ActionField>& fields = dataset.config().actions;
  for (int64_t f = 0; f < sheet.fields; ++f) {
    const ActionField& field = fields[static_cast<size_t>(f)];
    const int64_t y = top + f * kRow;
    canvas.text(y, kMargin, field.name, kFaint);
    for (int64_t t = 0; t < sheet.frames; ++t) {
      if (plan.known[static_cast<size_t>(t)] == 0) {
        canvas.text(y, sheet.frame_left(t), "unknown", kFaint);
      } else {
        draw_field(canvas, field, plan.actions[static_cast<size_t>(t * sheet.fields + f)], y, sheet,
                   t);
      }
    }
  }
}

void draw_clip(Canvas& canvas, const Dataset& dataset, const ClipPlan& plan, int64_t top,
               const Sheet& sheet) {
  const SourceFile& file = dataset.files()[static_cast<size_t>(plan.file)];
  Reader reader(file.path, file.index);
  const Frames frames =
      reader.read(plan.numbers, {.height = sheet.picture_height, .width = sheet.picture_width});
  const double start = file.index->seconds(plan.numbers.front()).value();
  canvas.text(top, kMargin + sheet.labels,
              fmt::format("{}  from frame {}  at {:.2f} s", file.name, plan.numbers.front(), start),
              kText);
  const int64_t below = top + kRow + sheet.cell_height() + 4;
  for (int64_t t = 0; t < sheet.frames; ++t) {
    canvas.picture(top + kRow, sheet.frame_left(t), frames.frame(t), sheet.picture_height,
                   sheet.picture_width, sheet.scale);
    const int64_t number = plan.numbers[static_cast<size_t>(t)];
    canvas.text(below, sheet.frame_left(t),
                fmt::format("+{:.3f} s", file.index->seconds(number).value() - start), kFaint);
  }
  draw_actions(canvas, dataset, plan, below + kRow, sheet);
}

ClipSpace all_clips(const Dataset& dataset, const ShowOptions& options) {
  DataConfig data;
  data.path = dataset.folder().string();
  const Rational fps = options.fps > Rational(0) ? options.fps : dataset.fps(data);
  std::vector<Span> spans;
  for (size_t i = 0; i < dataset.files().size(); ++i) {
    spans.push_back({static_cast<int64_t>(i), 0, dataset.files()[i].index->frame_count()});
  }
  ClipSpace space(dataset, std::move(spans), options.frames, fps);
  if (space.size() == 0) {
    fail("{}: no recording is long enough for {} frames at {} frames a second",
         dataset.folder().string(), options.frames, fps.str());
  }
  return space;
}

}  // namespace

Canvas contact_sheet(const Dataset& dataset, const ShowOptions& options) {
  if (options.clips < 1 || options.frames < 1 || options.frames > 64) {
    fail_usage("data show: {} clips of {} frames; at least 1 clip of 1 .. 64 frames can be shown",
               options.clips, options.frames);
  }
  const ClipSpace space = all_clips(dataset, options);
  const Sheet sheet = plan_sheet(dataset, options);
  Canvas canvas(sheet.height(), sheet.width());
  const std::string& name = dataset.config().name;
  canvas.text(kMargin, kMargin,
              fmt::format("{}{}", name.empty() ? dataset.folder().filename().string() : name,
                          sheet.fields > 0 ? ": below a frame is the action that led into it" : ""),
              kText);
  for (int64_t i = 0; i < options.clips; ++i) {
    Random random(derive_seed(options.seed, "data show", static_cast<uint64_t>(i)));
    draw_clip(canvas, dataset, space.plan(random.integer(space.size())), sheet.clip_top(i), sheet);
  }
  return canvas;
}

void write_contact_sheet(const std::filesystem::path& folder, const std::filesystem::path& png,
                         const ShowOptions& options) {
  write_png(png, contact_sheet(Dataset::open(folder), options).frames());
}

}  // namespace praxino
