#pragma once
// Exact random access to the frames of an indexed video file (docs/architecture.md, "video"): opens
// without probing, seeks to the governing key frame's own time, decodes forward once per group of
// pictures on one thread, and scales and converts each wanted frame in one pass straight into the
// caller's memory.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "praxino/video/frames.h"
#include "praxino/video/index.h"

namespace praxino {

enum class ResizeFilter { kArea, kBilinear, kBicubic };
ResizeFilter parse_resize_filter(const std::string& name);  // "area", "bilinear", "bicubic"

/// Where and how frames are written: each one RGB, full range, rotated upright, scaled to height x
/// width.
struct PixelLayout {
  int64_t height = 0;  // 0: the file's own displayed size
  int64_t width = 0;
  ResizeFilter filter = ResizeFilter::kArea;
  bool planar = false;  // false: Y X C, true: C Y X (as a batch row wants it)
};

/// What reading has cost so far: for benchmarks and logs.
struct ReadStats {
  int64_t seeks = 0;
  int64_t frames_decoded = 0;
  int64_t frames_delivered = 0;
  double demux_seconds = 0;  // seeking and reading packets
  double decode_seconds = 0;
  double convert_seconds = 0;  // scaling and colour
};

/// One open file with one decoder. Not thread-safe: one Reader a thread. Throws VideoError naming
/// file and frame.
class Reader {
 public:
  /// Copies nothing of the index: `index` is kept alive by the shared pointer.
  /// Throws kMismatch when the file's size or mtime is not the index's.
  Reader(std::filesystem::path file, std::shared_ptr<const FrameIndex> index,
         VideoLimits limits = {});
  ~Reader();
  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;

  /// Writes frame numbers[i] (presentation order, 0 .. frame_count-1; any order, repeats allowed)
  /// to the i-th height*width*3 bytes of `pixels`, whose size must be exactly that. Either all are
  /// written or it throws.
  void read(std::span<const int64_t> numbers, const PixelLayout& layout, std::span<uint8_t> pixels);

  /// The same into a new Frames (Y X C).
  Frames read(std::span<const int64_t> numbers, const PixelLayout& layout = {});

  const FrameIndex& index() const;
  const ReadStats& stats() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace praxino
