// Turns a scan into an index, and proves the index with the same code that will read by it.

#include <algorithm>
#include <cmath>
#include <numeric>

#include "praxino/base/log.h"
#include "praxino/video/index.h"
#include "video/cursor.h"
#include "video/index_scan.h"

namespace praxino {
namespace {

constexpr int kLargestExtradata = 1 << 20;
constexpr size_t kKeysTried = 5;
constexpr int64_t kFramesTried = 64;  // of each key frame tried

// Clockwise quarter turns that make the picture upright.
int32_t rotation_of(const Source& source) {
  const int32_t* matrix = ffmpeg::display_matrix(source.stream());
  if (matrix == nullptr) return 0;
  const double counter_clockwise = av_display_rotation_get(matrix);
  const double turns = -counter_clockwise / 90;
  const double determinant = double(matrix[0]) * matrix[4] - double(matrix[1]) * matrix[3];
  if (std::isnan(turns) || std::abs(turns - std::round(turns)) > 1e-3 || determinant < 0) {
    fail_video(VideoFault::kUnsupported, source.file(),
               "its display matrix is no rotation by quarter turns");
  }
  return (static_cast<int32_t>(std::lround(turns)) % 4 + 4) % 4;
}

bool all_distinct(std::vector<int64_t> values) {
  std::ranges::sort(values);
  return std::ranges::find(values, AV_NOPTS_VALUE) == values.end() &&
         std::ranges::adjacent_find(values) == values.end();
}

class Builder {
 public:
  Builder(const std::filesystem::path& file, const VideoLimits& limits)
      : file_(file), limits_(limits), source_(file, limits) {}

  FrameIndex build() {
    source_.set_deadline(limits_.index_seconds);
    describe_file();
    scan();
    describe_stream();
    order_frames();
    assign_keys();
    prove_keys();
    if (!index_is_current(index_, file_))
      fail_video(VideoFault::kMismatch, file_, "it was changed while it was being indexed");
    return std::move(index_);
  }

 private:
  void describe_file() {
    index_.file_size = source_.file_size();
    index_.file_mtime_ns = source_.file_mtime_ns();
    index_.file_hash = hash_file(file_);
    source_.check_deadline();
  }

  void scan() {
    scan_ = scan_file(source_, limits_, 0);
    // Without a reorder depth in its headers, an H.264 decoder learns it from the first frames, at
    // their cost.
    for (int tries = 0; scan_.depth_changed && tries < 3; ++tries) {
      source_.reopen();
      scan_ = scan_file(source_, limits_, scan_.reorder_depth);
    }
  }

  void describe_stream() {
    const AVStream& stream = source_.stream();
    const AVCodecParameters& codec = *stream.codecpar;
    index_.stream = source_.stream_number();
    index_.container = source_.container_name();
    index_.codec = source_.codec_name();
    if (stream.time_base.num <= 0 || stream.time_base.den <= 0) {
      fail_video(
          VideoFault::kCorrupt, file_,
          fmt::format("has the time base {}/{}", stream.time_base.num, stream.time_base.den));
    }
    index_.time_base = Rational(stream.time_base.num, stream.time_base.den);
    index_.width = scan_.width;
    index_.height = scan_.height;
    index_.rotation = rotation_of(source_);
    index_.pixel_format = scan_.pixel_format;
    index_.pixel_format_name = av_get_pix_fmt_name(static_cast<AVPixelFormat>(scan_.pixel_format));
    index_.color_range = scan_.color_range;
    index_.color_space = scan_.color_space;
    index_.reorder_depth = scan_.reorder_depth;
    index_.interlaced = scan_.interlaced;
    if (codec.extradata_size > kLargestExtradata) {
      fail_video(VideoFault::kLimit, file_,
                 fmt::format("has {} bytes of codec parameters", codec.extradata_size));
    }
    if (codec.extradata_size > 0)
      index_.extradata.assign(codec.extradata, codec.extradata + codec.extradata_size);
  }

  // Shown pictures in presentation order, with their times; shown_[i] is scan_.frames' number of
  // frame i.
  void order_frames() {
    std::vector<int64_t> pts, dts;
    for (size_t i = 0; i < scan_.frames.size(); ++i) {
      const PacketFacts& facts = scan_.frames[i].facts;
      if (facts.discard) continue;
      shown_.push_back(i);
      pts.push_back(facts.pts);
      dts.push_back(facts.dts);
    }
    if (shown_.empty()) fail_video(VideoFault::kCorrupt, file_, "its edit list shows no frame");
    if (!all_distinct(pts)) {
      if (!all_distinct(dts)) {
        fail_video(VideoFault::kUnsupported, file_,
                   "its frames have no distinct times; remux it: ffmpeg -fflags +genpts -i IN -c "
                   "copy OUT.mkv");
      }
      index_.packet_dts = dts;
      pts = dts;
      std::ranges::sort(pts);
    }
    const auto backwards = std::ranges::adjacent_find(pts, std::greater_equal());
    if (backwards != pts.end()) {
      fail_video(
          VideoFault::kUnsupported, file_,
          fmt::format("presentation times go backwards after frame {}; cut it there or remux it",
                      backwards - pts.begin()));
    }
    time_of_.assign(scan_.frames.size(), AV_NOPTS_VALUE);
    for (size_t i = 0; i < shown_.size(); ++i) {
      index_.frames.push_back({pts[i], 0});
      time_of_[shown_[i]] = pts[i];
    }
    index_.end_pts = end_of_last_frame();
  }

  int64_t end_of_last_frame() const {
    const int64_t last = index_.frames.back().pts;
    if (scan_.cut && index_.packet_dts.empty() && scan_.cut_pts > last) return scan_.cut_pts;
    const int64_t stored = scan_.frames[shown_.back()].facts.duration;
    if (stored > 0) return last + stored;
    if (index_.frames.size() > 1)
      return last + (last - index_.frames[index_.frames.size() - 2].pts);
    const AVRational rate = source_.stream().avg_frame_rate;
    if (rate.num <= 0 || rate.den <= 0) return last + 1;
    return last + std::max<int64_t>(1, (Rational(rate.den, rate.num) / index_.time_base).floor());
  }

  // The time by which a picture is compared with a key frame's; a picture outside the edit list has
  // only its packet's.
  int64_t time_of(size_t scanned) const {
    if (time_of_[scanned] != AV_NOPTS_VALUE) return time_of_[scanned];
    const PacketFacts& facts = scan_.frames[scanned].facts;
    return facts.pts != AV_NOPTS_VALUE ? facts.pts : facts.dts;
  }

  void assign_keys() {
    std::vector<size_t> decode_order(scan_.frames.size());
    std::iota(decode_order.begin(), decode_order.end(), size_t{0});
    std::ranges::sort(decode_order, {}, [&](size_t i) { return scan_.frames[i].facts.ordinal; });
    std::vector<int32_t> key_of(scan_.frames.size(), 0);
    for (const size_t i : decode_order) {
      const ScannedFrame& frame = scan_.frames[i];
      const int64_t time = time_of(i);
      if (index_.keys.empty()) {  // where the scan began, even if nothing came out for that packet
        const bool shown = frame.facts.ordinal == 0;
        index_.keys.push_back(
            {shown ? time : scan_.first.pts, scan_.first.decode_time(), scan_.first.byte});
      } else if (frame.start) {
        index_.keys.push_back({time, frame.facts.decode_time(), frame.facts.byte});
      }
      // A picture that is decoded after a key frame but shown before it may need what lies before
      // that key frame.
      auto key = static_cast<int32_t>(index_.keys.size()) - 1;
      while (key > 0 && index_.keys[static_cast<size_t>(key)].pts > time) --key;
      key_of[i] = key;
    }
    for (size_t i = 0; i < shown_.size(); ++i) index_.frames[i].key = key_of[shown_[i]];
  }

  // Decoding from the key frame gives the same pixels as decoding from the start of the file.
  bool key_is_true(int32_t key) {
    try {
      Cursor cursor(file_, index_, limits_);
      cursor.set_deadline(limits_.clip_seconds);
      const auto first =
          std::ranges::find(index_.frames, key, &FrameEntry::key) - index_.frames.begin();
      cursor.start_at(key);
      for (int64_t i = first; i < index_.frame_count() && i < first + kFramesTried; ++i) {
        if (index_.frames[static_cast<size_t>(i)].key != key) break;
        if (cursor.next() != i || is_damaged(cursor.frame())) return false;
        if (hash_pixels(cursor.frame()) != scan_.frames[shown_[static_cast<size_t>(i)]].hash)
          return false;
      }
      return true;
    } catch (const VideoError& error) {
      if (error.fault() == VideoFault::kTimeout) throw;
      return false;
    }
  }

  void prove_keys() {
    if (!key_is_true(0))
      fail_video(VideoFault::kUnsupported, file_, "it does not decode twice to the same frames");
    bool all_true = true;
    const size_t tries = std::min(kKeysTried, index_.keys.size() - 1);
    for (size_t t = 1; t <= tries && all_true; ++t) {
      source_.check_deadline();
      all_true = key_is_true(static_cast<int32_t>(t * (index_.keys.size() - 1) / tries));
    }
    if (!all_true) drop_false_keys();
  }

  // One key frame lied, so none is believed without proof.
  void drop_false_keys() {
    std::vector<int32_t> renamed(index_.keys.size(), 0);
    std::vector<KeyEntry> kept = {index_.keys.front()};
    for (size_t key = 1; key < index_.keys.size(); ++key) {
      source_.check_deadline();
      if (key_is_true(static_cast<int32_t>(key))) kept.push_back(index_.keys[key]);
      renamed[key] = static_cast<int32_t>(kept.size()) - 1;
    }
    log::debug("{}: {} of {} key frames can be started from", file_.string(), kept.size(),
               renamed.size());
    for (FrameEntry& frame : index_.frames) frame.key = renamed[static_cast<size_t>(frame.key)];
    index_.keys = std::move(kept);
  }

  const std::filesystem::path& file_;
  VideoLimits limits_;
  Source source_;
  Scan scan_;
  FrameIndex index_;
  std::vector<size_t> shown_;
  std::vector<int64_t> time_of_;
};

}  // namespace

FrameIndex build_index(const std::filesystem::path& file, const VideoLimits& limits) {
  return Builder(file, limits).build();
}

}  // namespace praxino
