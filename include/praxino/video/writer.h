#pragma once
// Ordinary files out: mp4 (H.264 where the FFmpeg build has an encoder, else MPEG-4) and PNG.
// Files appear by one rename when complete; on an error nothing is left behind.

#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "praxino/base/rational.h"
#include "praxino/video/frames.h"

namespace praxino {

struct VideoWriterOptions {
  int64_t height = 0;
  int64_t width = 0;  // odd sizes are padded by one repeated row or column (yuv420p)
  Rational fps = 30;
  int quality = 18;        // x264 CRF, 0 (lossless) .. 51
  int64_t key_every = 30;  // frames between key frames
  bool b_frames = false;
  bool deterministic = true;  // bit-exact muxing, one thread: same frames, same bytes
};

/// Encodes frames in order. Not thread-safe. Throws praxino::Error naming the path.
class VideoWriter {
 public:
  VideoWriter(std::filesystem::path path, const VideoWriterOptions& options);
  ~VideoWriter();  // without finish(): the temporary file is removed
  VideoWriter(VideoWriter&&) noexcept;
  /// One frame, height*width*3 bytes RGB.
  void add(std::span<const uint8_t> rgb);
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// All frames to one mp4.
void write_mp4(const std::filesystem::path& path, const Frames& frames, const Rational& fps,
               int quality = 18);

/// One picture (frames.frame(t)) as PNG; encode_png gives the bytes (for TensorBoard).
void write_png(const std::filesystem::path& path, const Frames& frames, int64_t t = 0);
std::vector<uint8_t> encode_png(const Frames& frames, int64_t t = 0);

}  // namespace praxino
