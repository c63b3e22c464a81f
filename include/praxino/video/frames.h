#pragma once
// Decoded pictures in plain memory: what a video reader produces and a video writer takes.

#include <cstdint>
#include <span>
#include <vector>

namespace praxino {

/// T pictures of Y x X pixels with C interleaved channels (3: RGB, full range, sRGB transfer as in
/// the file). Shape `T Y X C` uint8, contiguous. A value: copies copy the pixels.
struct Frames {
  int64_t count = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t channels = 3;
  std::vector<uint8_t> pixels;

  Frames() = default;
  Frames(int64_t t, int64_t y, int64_t x, int64_t c = 3)
      : count(t), height(y), width(x), channels(c), pixels(static_cast<size_t>(t * y * x * c)) {}
  int64_t frame_size() const { return height * width * channels; }
  std::span<uint8_t> frame(int64_t t) {
    return {pixels.data() + t * frame_size(), static_cast<size_t>(frame_size())};
  }
  std::span<const uint8_t> frame(int64_t t) const {
    return {pixels.data() + t * frame_size(), static_cast<size_t>(frame_size())};
  }
};

}  // namespace praxino
