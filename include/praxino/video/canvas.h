#pragma once
// A picture to draw on: contact sheets for `data show`, `rollout` and TensorBoard. A value; not
// thread-safe.

#include <cstdint>
#include <span>
#include <string_view>

#include "praxino/video/frames.h"

namespace praxino {

struct Color {
  uint8_t r = 255, g = 255, b = 255;
};

class Canvas {
 public:
  Canvas(int64_t height, int64_t width, Color background = {24, 24, 27});
  /// Copies an RGB picture (Y X C), enlarged by the whole number `scale` (nearest), with its corner
  /// at (y, x); what falls outside is cut off.
  void picture(int64_t y, int64_t x, std::span<const uint8_t> rgb, int64_t height, int64_t width,
               int64_t scale = 1);
  void rectangle(int64_t y, int64_t x, int64_t height, int64_t width, Color color);  // filled
  /// 5x7 pixel font (6 x 9 with spacing) times `scale`; printable ASCII, others as '?'.
  void text(int64_t y, int64_t x, std::string_view text, Color color = {}, int64_t scale = 1);
  static int64_t text_width(std::string_view text, int64_t scale = 1);
  static int64_t text_height(int64_t scale = 1);
  const Frames& frames() const { return frames_; }  // count == 1
  int64_t height() const { return frames_.height; }
  int64_t width() const { return frames_.width; }

 private:
  Frames frames_;
};

}  // namespace praxino
