#include "data/check_file.h"

#include <algorithm>
#include <cmath>

#include "data/check_motion.h"
#include "praxino/base/error.h"
#include "praxino/video/reader.h"

namespace praxino {
namespace {

constexpr double kGap = 1.5;           // intervals longer than this many medians lack frames
constexpr double kBunch = 0.5;         // shorter than this: two pictures for one moment
constexpr double kSamePicture = 0.02;  // mean grey levels: below an encoder's least change
constexpr double kRefreshed = 5;       // a key frame shows the same with other coding errors
constexpr double kFrozenSeconds = 0.5;
constexpr int64_t kSmallSide = 96;  // pictures are examined at this size at most
constexpr int64_t kStretch = 600;   // frames examined in a row

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

PixelLayout small_layout(const FrameIndex& index) {
  const int64_t height = index.shown_height();
  const int64_t width = index.shown_width();
  const double scale =
      std::min(1.0, static_cast<double>(kSmallSide) / static_cast<double>(std::max(height, width)));
  const auto shrink = [scale](int64_t side) {
    return std::max<int64_t>(8, std::llround(scale * static_cast<double>(side)));
  };
  return {.height = shrink(height), .width = shrink(width), .filter = ResizeFilter::kArea};
}

// First frames of stretches of kStretch frames, spread evenly so that about `limit` frames are
// examined.
std::vector<int64_t> stretch_starts(int64_t frames, int64_t limit) {
  const int64_t all = (frames + kStretch - 1) / kStretch;
  const int64_t wanted = std::clamp<int64_t>(limit / kStretch, 1, all);
  std::vector<int64_t> starts;
  for (int64_t i = 0; i < wanted; ++i) starts.push_back(i * all / wanted * kStretch);
  return starts;
}

// Follows runs of pictures that stay the same.
class FrozenWatch {
 public:
  FrozenWatch(double fps, std::vector<FrozenRun>& runs)
      : least_(std::max<int64_t>(4, std::llround(kFrozenSeconds * fps))), runs_(&runs) {}
  void see(int64_t frame, bool same) {
    if (!same) {
      end();
      first_ = frame;
    }
    last_ = frame;
  }
  void end() {
    if (last_ - first_ >= least_) runs_->push_back({first_, last_});
    first_ = last_ = 0;
  }

 private:
  int64_t least_;
  int64_t first_ = 0;
  int64_t last_ = 0;
  std::vector<FrozenRun>* runs_;
};

// From which mean difference on frame k >= 1 shows something else than the frame before. Where each
// frame is a key frame, repeated pictures are repeated exactly.
double least_change(const FrameIndex& index, int64_t k) {
  const auto is_key = [&index](int64_t frame) {
    const FrameEntry& entry = index.frames[static_cast<size_t>(frame)];
    return index.keys[static_cast<size_t>(entry.key)].pts == entry.pts;
  };
  return is_key(k) && !is_key(k - 1) ? kRefreshed : kSamePicture;
}

void examine_stretch(Reader& reader, int64_t first, int64_t last, Examined& out) {
  const PixelLayout layout = small_layout(reader.index());
  MotionStretch motion{.first = first, .values = {}};
  FrozenWatch watch(out.check.fps, out.check.frozen);
  std::vector<uint8_t> rgb(static_cast<size_t>(layout.height * layout.width * 3));
  GreyPicture before;
  for (int64_t k = first; k < last; ++k) {
    reader.read(std::span(&k, 1), layout, rgb);
    GreyPicture picture = to_grey(rgb, layout.height, layout.width);
    const bool same =
        k > first && mean_difference(before, picture) < least_change(reader.index(), k);
    watch.see(k, same);
    if (k > first && out.check.labelled) {
      const std::vector<double> values = measure_motion(before, picture);
      motion.values.insert(motion.values.end(), values.begin(), values.end());
    }
    before = std::move(picture);
  }
  watch.end();
  out.check.frames_examined += last - first;
  if (out.check.labelled) out.motion.push_back(std::move(motion));
}

}  // namespace

void check_times(const FrameIndex& index, FileCheck& check) {
  check.seconds = index.duration().value();
  std::vector<double> intervals;
  for (size_t i = 0; i + 1 < index.frames.size(); ++i) {
    const auto ticks = static_cast<double>(index.frames[i + 1].pts - index.frames[i].pts);
    intervals.push_back(ticks * index.time_base.value());
  }
  if (intervals.empty()) return;
  const double usual = median(intervals);
  check.fps = usual > 0 ? 1 / usual : 0;
  for (size_t i = 0; i < intervals.size(); ++i) {
    const auto frame = static_cast<int64_t>(i);
    if (intervals[i] > kGap * usual) {
      check.gaps.push_back(
          {frame, intervals[i], std::max<int64_t>(1, std::llround(intervals[i] / usual) - 1)});
    } else if (intervals[i] < kBunch * usual) {
      check.bunched.push_back(frame);
    }
  }
}

Examined examine(const SourceFile& file, int64_t limit) {
  Examined out;
  out.check.name = file.name;
  out.check.frames = file.index->frame_count();
  out.check.height = file.index->shown_height();
  out.check.width = file.index->shown_width();
  out.check.labelled = file.actions.rows > 0;
  check_times(*file.index, out.check);
  try {
    Reader reader(file.path, file.index);
    for (const int64_t first : stretch_starts(out.check.frames, limit)) {
      examine_stretch(reader, first, std::min(first + kStretch, out.check.frames), out);
    }
  } catch (const Error& error) {  // indexed, but not readable
    out.check.refused = error.what();
    out.motion.clear();
  }
  return out;
}

}  // namespace praxino
