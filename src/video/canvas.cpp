#include "praxino/video/canvas.h"

#include <algorithm>

#include "praxino/base/error.h"
#include "video/font.h"

namespace praxino {
namespace {

constexpr int64_t kAdvance = kGlyphWidth + 1;
constexpr int64_t kLine = kGlyphHeight + 2;

}  // namespace

Canvas::Canvas(int64_t height, int64_t width, Color background) {
  if (height < 1 || width < 1 || height > 1 << 15 || width > 1 << 15)
    fail("a canvas cannot have {}x{} pixels", width, height);
  frames_ = Frames(1, height, width);
  rectangle(0, 0, height, width, background);
}

void Canvas::rectangle(int64_t y, int64_t x, int64_t height, int64_t width, Color color) {
  const int64_t y_end = std::min(y + height, frames_.height);
  const int64_t x_end = std::min(x + width, frames_.width);
  for (int64_t row = std::max<int64_t>(y, 0); row < y_end; ++row) {
    for (int64_t column = std::max<int64_t>(x, 0); column < x_end; ++column) {
      uint8_t* pixel = frames_.pixels.data() + (row * frames_.width + column) * 3;
      pixel[0] = color.r;
      pixel[1] = color.g;
      pixel[2] = color.b;
    }
  }
}

void Canvas::picture(int64_t y, int64_t x, std::span<const uint8_t> rgb, int64_t height,
                     int64_t width, int64_t scale) {
  if (scale < 1 || static_cast<int64_t>(rgb.size()) != height * width * 3) {
    fail("a picture of {}x{} with {} bytes cannot be drawn {} times as large", width, height,
         rgb.size(), scale);
  }
  const int64_t y_end = std::min(height * scale, frames_.height - y);
  const int64_t x_end = std::min(width * scale, frames_.width - x);
  for (int64_t row = std::max<int64_t>(0, -y); row < y_end; ++row) {
    for (int64_t column = std::max<int64_t>(0, -x); column < x_end; ++column) {
      const uint8_t* from = rgb.data() + (row / scale * width + column / scale) * 3;
      std::copy_n(from, 3, frames_.pixels.data() + ((y + row) * frames_.width + x + column) * 3);
    }
  }
}

void Canvas::text(int64_t y, int64_t x, std::string_view text, Color color, int64_t scale) {
  for (const char c : text) {
    const char shown = c >= ' ' && c <= '~' ? c : '?';
    const auto& glyph = kFont[static_cast<size_t>(shown - kFirstGlyph)];
    for (int64_t row = 0; row < kGlyphHeight; ++row) {
      for (int64_t column = 0; column < kGlyphWidth; ++column) {
        const bool ink = (glyph[static_cast<size_t>(row)] >> (kGlyphWidth - 1 - column)) & 1;
        if (ink) rectangle(y + row * scale, x + column * scale, scale, scale, color);
      }
    }
    x += kAdvance * scale;
  }
}

int64_t Canvas::text_width(std::string_view text, int64_t scale) {
  return static_cast<int64_t>(text.size()) * kAdvance * scale;
}
int64_t Canvas::text_height(int64_t scale) { return kLine * scale; }

}  // namespace praxino
