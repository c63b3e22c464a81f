#pragma once
// The frame index of one video file: built once by demuxing and decoding enough to know the truth,
// kept on disk, and enough to open the file again without probing and to seek exactly
// (docs/formats.md, "index").

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "praxino/base/hash.h"
#include "praxino/base/rational.h"
#include "praxino/video/error.h"

namespace praxino {

/// Limits on what a hostile or broken file may cost. Every one is finite.
struct VideoLimits {
  int64_t max_pixels = 4096 * 2304;  // of one frame
  int64_t max_frames = 20'000'000;   // of one file
  int64_t max_streams = 32;
  int64_t max_packet_bytes = 64 << 20;
  int64_t max_packets_per_seek =
      20'000;                  // packets fed for one requested clip beyond what the index says
  double index_seconds = 600;  // wall time to index one file
  double clip_seconds = 30;    // wall time to decode one clip
};

/// One frame in presentation order.
struct FrameEntry {
  int64_t pts = 0;  // presentation time in the stream's time base, strictly increasing
  int32_t key =
      0;  // position in `keys` of the key frame from which decoding must start (the governing one)
};

/// A point where decoding can start.
struct KeyEntry {
  int64_t pts =
      0;  // of the key frame itself (it need not be shown: an edit list may start after it)
  int64_t dts = 0;    // its decoding time (equal to pts where the container has none)
  int64_t byte = -1;  // byte position in the file, -1: unknown
};

/// All that later opens need. A value; thread-safe to read.
struct FrameIndex {
  // the source bytes
  uint64_t file_size = 0;
  int64_t file_mtime_ns = 0;
  Hash128 file_hash;
  // the stream, as decoded frames (not headers) say
  int32_t stream = -1;            // index of the video stream in the container
  std::string container;          // FFmpeg's demuxer name: "mov,mp4,m4a,3gp,3g2,mj2"
  std::string codec;              // FFmpeg's codec name: "h264"
  Rational time_base;             // seconds per tick
  int32_t width = 0, height = 0;  // decoded, before rotation
  int32_t rotation = 0;           // clockwise quarter turns (0..3) that make the picture upright
  int32_t pixel_format = -1;      // AVPixelFormat as a number of this FFmpeg build, with its name:
  std::string pixel_format_name;  // "yuv420p"
  int32_t color_range = 0;        // AVColorRange and AVColorSpace (ITU-T H.273 numbers)
  int32_t color_space = 0;
  int32_t reorder_depth = 0;       // frames that the decoder may hold back (has_b_frames)
  std::vector<uint8_t> extradata;  // codec parameters out of band
  int64_t end_pts = 0;             // where the last frame stops being shown
  bool interlaced = false;         // some frame says that it is made of two fields
  std::vector<FrameEntry> frames;  // presentation order
  std::vector<KeyEntry> keys;      // decoding order
  /// Empty where packets carry presentation times, which then tell frames apart. Else (avi), for
  /// each frame, the decoding time of the packet that it came from; the frames' own times are those
  /// in ascending order.
  std::vector<int64_t> packet_dts;

  int64_t frame_count() const { return static_cast<int64_t>(frames.size()); }
  /// Displayed size: rotation applied.
  int64_t shown_width() const { return rotation % 2 ? height : width; }
  int64_t shown_height() const { return rotation % 2 ? width : height; }
  /// Seconds from the first frame's presentation to frame i's, exact.
  Rational seconds(int64_t i) const;
  /// From the first frame's presentation to the end of the last one, exact.
  Rational duration() const;
  /// The frame being shown `seconds` after the first frame's presentation: pts <= t < next pts;
  /// clamps before the start to 0, and at or after the end to the last frame.
  int64_t frame_at(const Rational& seconds) const;
  /// Frame rate that the presentation times have on average (frames - 1 over the time they span); 0
  /// for one frame.
  double mean_fps() const;
};

/// Demuxes and decodes the whole file once inside `limits`. Throws VideoError naming the file and
/// the reason. Damage anywhere refuses the file. Where size or pixel format changes in mid-stream,
/// the usable part ends (and a warning is logged). Only rotations by quarter turns are admitted;
/// non-square pixels are taken as they are. Only the containers mov/mp4, matroska/webm, avi, mpegts
/// and the codecs h264, hevc, vp8, vp9, av1, mpeg4, mpeg2video, mpeg1video, mjpeg, ffv1 are
/// admitted (the allow-list).
FrameIndex build_index(const std::filesystem::path& file, const VideoLimits& limits = {});

/// The index in bytes and back (docs/formats.md). parse_index validates everything and throws
/// praxino::Error with `name` and the reason.
std::string serialize_index(const FrameIndex& index);
FrameIndex parse_index(std::string_view bytes, std::string_view name);

/// True while size and mtime of the file are those of the index.
bool index_is_current(const FrameIndex& index, const std::filesystem::path& file);

}  // namespace praxino
