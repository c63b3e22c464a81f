#pragma once
// Supersampled shapes on an RGB picture in the caller's memory.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>

namespace praxino {

using Rgb = std::array<double, 3>;  // 0 .. 255

/// Corners in pixels: [top, bottom) x [left, right).
struct Bounds {
  double top, left, bottom, right;
};

class Painter {
 public:
  Painter(std::span<uint8_t> rgb, int64_t height, int64_t width)
      : rgb_(rgb), height_(height), width_(width) {}

  void fill(const Rgb& color) {
    for (size_t i = 0; i < rgb_.size(); ++i) rgb_[i] = to_byte(color[i % 3]);
  }

  /// Blends `color` by the share of a pixel's 4 x 4 sample points for which inside(y, x) holds.
  template <class Inside>
  void shape(const Bounds& bounds, const Rgb& color, const Inside& inside) {
    const int64_t top = std::max<int64_t>(0, static_cast<int64_t>(std::floor(bounds.top)));
    const int64_t left = std::max<int64_t>(0, static_cast<int64_t>(std::floor(bounds.left)));
    const int64_t bottom = std::min(height_, static_cast<int64_t>(std::ceil(bounds.bottom)));
    const int64_t right = std::min(width_, static_cast<int64_t>(std::ceil(bounds.right)));
    for (int64_t y = top; y < bottom; ++y) {
      for (int64_t x = left; x < right; ++x) blend(y, x, color, coverage(y, x, inside));
    }
  }

  void disc(double y, double x, double radius, const Rgb& color) {
    shape({y - radius, x - radius, y + radius, x + radius}, color, [&](double sy, double sx) {
      return (sy - y) * (sy - y) + (sx - x) * (sx - x) < radius * radius;
    });
  }

  void box(const Bounds& b, const Rgb& color) {
    shape(b, color, [&](double y, double x) {
      return y >= b.top && y < b.bottom && x >= b.left && x < b.right;
    });
  }

  static uint8_t to_byte(double value) {
    return static_cast<uint8_t>(std::clamp(value + 0.5, 0.0, 255.0));
  }

 private:
  static constexpr int kSamples = 4;  // a side

  template <class Inside>
  static double coverage(int64_t y, int64_t x, const Inside& inside) {
    int hits = 0;
    for (int i = 0; i < kSamples; ++i) {
      for (int j = 0; j < kSamples; ++j) {
        hits += inside(static_cast<double>(y) + (i + 0.5) / kSamples,
                       static_cast<double>(x) + (j + 0.5) / kSamples);
      }
    }
    return static_cast<double>(hits) / (kSamples * kSamples);
  }

  void blend(int64_t y, int64_t x, const Rgb& color, double share) {
    if (share == 0) return;
    uint8_t* const pixel = rgb_.data() + (y * width_ + x) * 3;
    for (size_t c = 0; c < 3; ++c) {
      pixel[c] = to_byte(pixel[c] + share * (color[c] - pixel[c]));
    }
  }

  std::span<uint8_t> rgb_;
  int64_t height_;
  int64_t width_;
};

}  // namespace praxino
