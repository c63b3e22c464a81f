#pragma once
// The one pass over a whole file that finds out what is really in it.

#include <cstdint>
#include <vector>

#include "video/decoder.h"

namespace praxino {

/// One decoded picture as the scan saw it.
struct ScannedFrame {
  PacketFacts facts;
  bool start = false;  // marked as a key frame by the container and by the decoder, and intra coded
  uint64_t hash = 0;   // of its pixels
};

struct Scan {
  std::vector<ScannedFrame> frames;  // as they came out of the decoder
  PacketFacts first;                 // the packet that decoding began with
  int width = 0, height = 0;
  int pixel_format = -1;
  int color_range = 0;
  int color_space = 0;
  int reorder_depth = 0;
  bool interlaced = false;
  bool cut = false;     // ended early, at a change of size or pixel format
  int64_t cut_pts = 0;  // where the first picture of the other size would be shown
  bool depth_changed =
      false;  // the decoder held back too few frames at the start: scan again with reorder_depth
};

/// XXH3 of the visible pixels.
uint64_t hash_pixels(const AVFrame& frame);

/// Decodes from the first packet of `source` to its end. Throws VideoError for damage and for what
/// exceeds `limits`.
Scan scan_file(Source& source, const VideoLimits& limits, int reorder_depth);

}  // namespace praxino
