#include "praxino/rollout/sheet.h"

#include <c10/util/Exception.h>
#include <fmt/core.h>

#include <algorithm>
#include <numeric>

#include "praxino/base/signals.h"
#include "praxino/video/writer.h"
#include "rollout/action_bars.h"

namespace praxino {
namespace {

constexpr int64_t kGap = 4;     // between columns and between truth and dream
constexpr int64_t kEdge = 3;    // the coloured line above a picture
constexpr int64_t kLabel = 12;  // a line of text
constexpr Color kGiven{74, 222, 128};
constexpr Color kImagined{251, 146, 60};
constexpr Color kDim{161, 161, 170};

int64_t enlargement(int64_t height, int64_t wanted) {
  return std::max<int64_t>(1, (wanted + height - 1) / height);
}

/// A picture of `frames` with the edge that says where it comes from.
struct Placed {
  int64_t y, x, scale;
};
void draw_picture(Canvas& canvas, const Placed& at, const at::Tensor& frames, int64_t t,
                  Color edge) {
  const at::Tensor picture = frames[t].permute({1, 2, 0}).contiguous();
  canvas.rectangle(at.y, at.x, kEdge, picture.size(1) * at.scale, edge);
  canvas.picture(at.y + kEdge, at.x,
                 {picture.data_ptr<uint8_t>(), static_cast<size_t>(picture.numel())},
                 picture.size(0), picture.size(1), at.scale);
}

Color dream_edge(const RolloutPictures& rollout, int64_t t) {
  return t < rollout.context ? kGiven : kImagined;
}

void check(const RolloutPictures& rollout) {
  TORCH_CHECK(rollout.dream.defined() && rollout.dream.dim() == 4,
              "a rollout's pictures are T C Y X");
  TORCH_CHECK(!rollout.truth.defined() || rollout.truth.sizes() == rollout.dream.sizes(),
              "a rollout's truth is ", rollout.truth.sizes(), " but its dream is ",
              rollout.dream.sizes());
}

/// Where things lie in the block of one rollout.
struct Block {
  int64_t scale, cell_height, cell_width, left, columns, rows, lines;

  Block(const RolloutPictures& rollout, int64_t shown)
      : scale(enlargement(rollout.dream.size(2), 96)),
        cell_height(rollout.dream.size(2) * scale + kEdge),
        cell_width(std::max(rollout.dream.size(3) * scale, Canvas::text_width("given"))),
        left(kGap + std::max(Canvas::text_width("dream"), action_names_width(rollout.fields)) +
             kGap),
        columns(shown),
        rows(rollout.truth.defined() ? 2 : 1),
        lines(action_lines(rollout.fields)) {}

  int64_t width() const { return left + columns * (cell_width + kGap); }
  int64_t height() const {
    return 2 * kLabel + rows * (cell_height + kGap) + lines * kActionLineHeight + 2 * kGap;
  }
  int64_t row(int64_t i) const { return 2 * kLabel + i * (cell_height + kGap); }
};

void draw_block(Canvas& canvas, int64_t top, const RolloutPictures& rollout,
                const std::vector<int64_t>& shown) {
  const Block block(rollout, static_cast<int64_t>(shown.size()));
  const int64_t bars = top + block.row(block.rows);
  canvas.text(top + 2, kGap, rollout.title);
  if (block.rows == 2) canvas.text(top + block.row(0) + kEdge, kGap, "truth", kDim);
  canvas.text(top + block.row(block.rows - 1) + kEdge, kGap, "dream", kDim);
  draw_action_names(canvas, bars, kGap, rollout.fields);
  for (size_t i = 0; i < shown.size(); ++i) {
    const int64_t t = shown[i];
    const int64_t x = block.left + static_cast<int64_t>(i) * (block.cell_width + kGap);
    const bool given = t < rollout.context;
    canvas.text(top + kLabel + 2, x, given ? "given" : fmt::format("+{}", t - rollout.context + 1),
                dream_edge(rollout, t));
    if (block.rows == 2)
      draw_picture(canvas, {top + block.row(0), x, block.scale}, rollout.truth, t, kGiven);
    draw_picture(canvas, {top + block.row(block.rows - 1), x, block.scale}, rollout.dream, t,
                 dream_edge(rollout, t));
    if (block.lines > 0) draw_actions(canvas, {bars, x, block.cell_width}, rollout, t);
  }
}

/// One frame of the video.
Canvas video_frame(const RolloutPictures& rollout, int64_t t) {
  const int64_t scale = enlargement(rollout.dream.size(2), 256);
  const int64_t height = rollout.dream.size(2) * scale, width = rollout.dream.size(3) * scale;
  const int64_t pictures = rollout.truth.defined() ? 2 : 1;
  const int64_t lines = action_lines(rollout.fields);
  const int64_t names = lines > 0 ? action_names_width(rollout.fields) + 2 * kGap : 0;
  const int64_t total = pictures * width + (pictures - 1) * kGap;
  Canvas canvas(kEdge + height + (lines > 0 ? kGap + lines * kActionLineHeight : 0),
                std::max(total, names + 64));
  if (pictures == 2) draw_picture(canvas, {0, 0, scale}, rollout.truth, t, kGiven);
  draw_picture(canvas, {0, total - width, scale}, rollout.dream, t, dream_edge(rollout, t));
  if (lines > 0) {
    const int64_t y = kEdge + height + kGap;
    draw_action_names(canvas, y, kGap, rollout.fields);
    draw_actions(canvas, {y, names, canvas.width() - names - kGap}, rollout, t);
  }
  return canvas;
}

}  // namespace

std::vector<int64_t> sheet_columns(int64_t frames, int64_t context, int64_t columns) {
  TORCH_CHECK(frames >= 1 && columns >= 2, "a sheet needs a frame and two columns");
  const int64_t count = std::min(frames, columns);
  std::vector<int64_t> shown(static_cast<size_t>(count));
  const int64_t last_given = std::max<int64_t>(0, context - 1);
  if (frames - last_given <= count) {
    std::iota(shown.begin(), shown.end(), frames - count);
    return shown;
  }
  shown[0] = last_given;
  const int64_t first = last_given + 1;
  for (int64_t i = 1; i < count; ++i) {
    shown[static_cast<size_t>(i)] =
        first + (i - 1) * (frames - 1 - first) / std::max<int64_t>(1, count - 2);
  }
  return shown;
}

Canvas contact_sheet(const std::vector<RolloutPictures>& rollouts, int64_t columns) {
  TORCH_CHECK(!rollouts.empty(), "a contact sheet needs a rollout");
  int64_t height = 0, width = 0;
  std::vector<std::vector<int64_t>> shown;
  for (const RolloutPictures& rollout : rollouts) {
    check(rollout);
    shown.push_back(sheet_columns(rollout.dream.size(0), rollout.context, columns));
    const Block block(rollout, static_cast<int64_t>(shown.back().size()));
    height += block.height();
    width = std::max({width, block.width(), Canvas::text_width(rollout.title) + 2 * kGap});
  }
  Canvas canvas(height, width);
  int64_t top = 0;
  for (size_t i = 0; i < rollouts.size(); ++i) {
    draw_block(canvas, top, rollouts[i], shown[i]);
    top += Block(rollouts[i], static_cast<int64_t>(shown[i].size())).height();
  }
  return canvas;
}

void write_rollout_video(const std::filesystem::path& path, const RolloutPictures& rollout,
                         const Rational& fps) {
  check(rollout);
  const Canvas first = video_frame(rollout, 0);
  VideoWriter writer(path, {.height = first.height(), .width = first.width(), .fps = fps});
  for (int64_t t = 0; t < rollout.dream.size(0); ++t) {
    throw_if_stopped();
    writer.add(video_frame(rollout, t).frames().frame(0));
  }
  writer.finish();
}

}  // namespace praxino
