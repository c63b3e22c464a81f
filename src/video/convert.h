#pragma once
// One decoded picture to upright RGB of the wanted size, in one pass of swscale.

#include <cstdint>
#include <span>
#include <string>

#include "praxino/video/reader.h"
#include "video/ffmpeg.h"

namespace praxino {

/// The colour matrix (an ITU-T H.273 number) by which a picture is read: its own; unspecified means
/// BT.601 below 720 lines and BT.709 from there on.
AVColorSpace effective_matrix(AVColorSpace tagged, int height);
/// Whether pixels of this format and matrix can be converted; else `why` says why not.
bool can_convert(AVPixelFormat format, AVColorSpace matrix, std::string& why);

/// Keeps swscale's tables for one combination of sizes and formats. Not thread-safe.
class Converter {
 public:
  /// Writes layout.height * layout.width * 3 bytes. `rotation`: clockwise quarter turns that make
  /// it upright. Throws praxino::Error when swscale refuses the sizes.
  void convert(const AVFrame& frame, int rotation, const PixelLayout& layout,
               std::span<uint8_t> pixels);

 private:
  struct Key {
    int source_width, source_height, width, height;
    AVPixelFormat source_format;
    ResizeFilter filter;
    AVColorSpace matrix;
    bool full_range;
    bool operator==(const Key&) const = default;
  };
  void prepare(const Key& key);

  Key key_{};
  ffmpeg::UniqueScaler scaler_;
  ffmpeg::UniqueBytes scratch_;
  int64_t scratch_stride_ = 0;
};

}  // namespace praxino
