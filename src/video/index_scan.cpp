#include "video/index_scan.h"

#include "praxino/base/log.h"
#include "video/convert.h"

namespace praxino {
namespace {

class Scanner {
 public:
  Scanner(Source& source, const VideoLimits& limits, int reorder_depth)
      : source_(source),
        limits_(limits),
        decoder_(source, limits, reorder_depth),
        packet_(av_packet_alloc()),
        frame_(av_frame_alloc()) {}

  Scan run() {
    PacketFacts facts;
    int64_t packets = 0;
    bool started = false;
    while (!scan_.cut && source_.read(*packet_, facts)) {
      started = started || facts.key;
      if (!started)
        continue;  // a recording that begins in mid-stream: nothing can be decoded before a key
                   // frame
      if (packets == 0) scan_.first = facts;
      if (++packets > limits_.max_frames) refuse_length();
      if (facts.corrupt)
        fail_video(VideoFault::kCorrupt, source_.file(),
                   fmt::format("a packet is cut off or damaged, {}", place()));
      const int error = decoder_.send(*packet_, facts);
      if (error < 0) fail_ffmpeg(error, source_.file(), "cannot be decoded, " + place());
      take_pictures();
    }
    if (!scan_.cut) {
      decoder_.send_end();
      take_pictures();
    }
    if (scan_.frames.empty()) {
      fail_video(VideoFault::kCorrupt, source_.file(),
                 started ? "no frame can be decoded" : "has no key frame");
    }
    scan_.reorder_depth = decoder_.reorder_depth();
    return std::move(scan_);
  }

 private:
  std::string place() const { return fmt::format("after {} good frames", scan_.frames.size()); }

  [[noreturn]] void refuse_length() const {
    fail_video(VideoFault::kLimit, source_.file(),
               fmt::format("has more than {} frames", limits_.max_frames));
  }

  void take_pictures() {
    PacketFacts facts;
    int got = 0;
    while (!scan_.cut && (got = decoder_.receive(*frame_, facts)) > 0) take(facts);
    if (got < 0) fail_ffmpeg(got, source_.file(), "cannot be decoded, " + place());
  }

  void take(const PacketFacts& facts) {
    if (scan_.frames.empty()) {
      learn_stream();
    } else if (changed()) {
      log::warning("{}: size or pixel format changes after {} frames; the rest is not used",
                   source_.file().string(), scan_.frames.size());
      scan_.cut = true;
      scan_.cut_pts = facts.pts;
      return;
    }
    if (is_damaged(*frame_))
      fail_video(VideoFault::kCorrupt, source_.file(),
                 fmt::format("frame {} is damaged", scan_.frames.size()));
    if (decoder_.reorder_depth() > depth_at_first_) scan_.depth_changed = true;
    scan_.interlaced = scan_.interlaced || ffmpeg::is_interlaced(*frame_);
    const bool start =
        facts.key && ffmpeg::is_key(*frame_) && frame_->pict_type == AV_PICTURE_TYPE_I;
    scan_.frames.push_back({facts, start, hash_pixels(*frame_)});
    if (static_cast<int64_t>(scan_.frames.size()) > limits_.max_frames) refuse_length();
  }

  void learn_stream() {
    scan_.width = frame_->width;
    scan_.height = frame_->height;
    scan_.pixel_format = frame_->format;
    const auto format = static_cast<AVPixelFormat>(frame_->format);
    scan_.color_range = ffmpeg::implies_full_range(format) ? AVCOL_RANGE_JPEG : frame_->color_range;
    scan_.color_space = frame_->colorspace;
    depth_at_first_ = decoder_.reorder_depth();
    std::string why;
    if (!can_convert(format, frame_->colorspace, why))
      fail_video(VideoFault::kUnsupported, source_.file(), why);
  }

  bool changed() const {
    return frame_->width != scan_.width || frame_->height != scan_.height ||
           frame_->format != scan_.pixel_format;
  }

  Source& source_;
  VideoLimits limits_;
  Decoder decoder_;
  ffmpeg::UniquePacket packet_;
  ffmpeg::UniqueFrame frame_;
  Scan scan_;
  int depth_at_first_ = 0;
};

}  // namespace

uint64_t hash_pixels(const AVFrame& frame) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  uint64_t hash = 0;
  for (int plane = 0; plane < av_pix_fmt_count_planes(format); ++plane) {
    const int bytes = av_image_get_linesize(format, frame.width, plane);
    const bool chroma = plane == 1 || plane == 2;
    const int rows =
        chroma ? AV_CEIL_RSHIFT(frame.height, descriptor->log2_chroma_h) : frame.height;
    for (int y = 0; y < rows; ++y) {
      const auto* row =
          reinterpret_cast<const char*>(frame.data[plane]) + int64_t{y} * frame.linesize[plane];
      hash = xxh3_64({row, static_cast<size_t>(bytes)}, hash);
    }
  }
  return hash;
}

Scan scan_file(Source& source, const VideoLimits& limits, int reorder_depth) {
  return Scanner(source, limits, reorder_depth).run();
}

}  // namespace praxino
