#include "praxino/data/clip.h"

#include <algorithm>
#include <stdexcept>

#include "praxino/base/error.h"

namespace praxino {
namespace {

// The difference of two rounded presentation times is wrong by up to one tick. Where a frame lasts
// only a few ticks, these are not rounded (AVI: one tick a frame).
Rational slack_of(const FrameIndex& index) {
  const double fps = index.mean_fps();
  if (fps <= 0 || 1 / fps < 8 * index.time_base.value()) return 0;
  return index.time_base;
}

// The times of clips on one file, exact.
class ClipTimes {
 public:
  ClipTimes(const FrameIndex& index, const Span& span, const Rational& fps)
      : index_(index), step_(Rational(1) / fps), slack_(slack_of(index)) {
    span_start_ = index.seconds(span.first);
    span_end_ = span.last < index.frame_count() ? index.seconds(span.last) : index.duration();
  }

  Rational start(int64_t first) const { return index_.seconds(first); }
  /// Time of clip frame k (k = -1: the frame before the clip).
  Rational at(const Rational& start, int64_t k) const { return start + Rational(k) * step_; }
  int64_t frame_at(const Rational& time) const { return index_.frame_at(time + slack_); }
  bool starts_inside(const Rational& time) const { return time + slack_ >= span_start_; }
  bool ends_inside(const Rational& time) const { return time + slack_ < span_end_; }

 private:
  const FrameIndex& index_;
  Rational step_;
  Rational slack_;
  Rational span_start_;
  Rational span_end_;
};

bool fits(const ClipTimes& times, int64_t first, int64_t count) {
  return times.ends_inside(times.at(times.start(first), count - 1));
}

// Number of start frames in the span whose clip ends inside it: the first ones, because times
// increase.
int64_t count_starts(const ClipTimes& times, const Span& span, int64_t clip_frames) {
  int64_t low = span.first;
  int64_t high = span.last;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (fits(times, middle, clip_frames)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low - span.first;
}

void add_actions(const Dataset& dataset, const Span& span, const ClipTimes& times, ClipPlan& plan) {
  const ActionTable& table = dataset.files()[static_cast<size_t>(plan.file)].actions;
  const size_t fields = dataset.config().actions.size();
  plan.actions.assign(plan.numbers.size() * fields, 0.0F);
  plan.known.assign(plan.numbers.size(), 0);
  if (table.rows == 0) return;
  for (size_t k = 0; k < plan.numbers.size(); ++k) {
    const int64_t to = plan.numbers[k];
    int64_t from = 0;
    if (k > 0) {
      from = plan.numbers[k - 1];
    } else {
      const Rational before = times.at(times.start(to), -1);
      if (!times.starts_inside(before)) continue;
      from = times.frame_at(before);
    }
    if (to == span.first) continue;  // a repeat of the span's first frame
    combine_actions(table, dataset.config(), from, to,
                    std::span(plan.actions).subspan(k * fields, fields));
    plan.known[k] = 1;
  }
}

}  // namespace

int64_t shown_frame(const FrameIndex& index, const Rational& seconds) {
  return index.frame_at(seconds + slack_of(index));
}

std::optional<ClipPlan> plan_clip(const Dataset& dataset, const Span& span, int64_t first,
                                  int64_t count, const Rational& fps) {
  const FrameIndex& index = *dataset.files()[static_cast<size_t>(span.file)].index;
  const ClipTimes times(index, span, fps);
  if (first < span.first || first >= span.last || !fits(times, first, count)) return std::nullopt;
  ClipPlan plan;
  plan.file = span.file;
  plan.numbers.reserve(static_cast<size_t>(count));
  const Rational start = times.start(first);
  for (int64_t k = 0; k < count; ++k) plan.numbers.push_back(times.frame_at(times.at(start, k)));
  add_actions(dataset, span, times, plan);
  return plan;
}

ClipSpace::ClipSpace(const Dataset& dataset, std::vector<Span> spans, int64_t clip_frames,
                     const Rational& fps)
    : dataset_(&dataset), spans_(std::move(spans)), clip_frames_(clip_frames), fps_(fps) {
  for (const Span& span : spans_) {
    starts_.push_back(total_);
    const ClipTimes times(*dataset.files()[static_cast<size_t>(span.file)].index, span, fps);
    total_ += count_starts(times, span, clip_frames);
  }
}

ClipPlan ClipSpace::plan(int64_t number) const {
  if (number < 0 || number >= total_) throw std::out_of_range("ClipSpace::plan: no such clip");
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), number);
  const auto i = static_cast<size_t>(after - starts_.begin()) - 1;
  const int64_t first = spans_[i].first + (number - starts_[i]);
  return plan_clip(*dataset_, spans_[i], first, clip_frames_, fps_).value();
}

std::string ClipSpace::describe_lengths() const {
  Rational longest;
  for (const Span& span : spans_) {
    const FrameIndex& index = *dataset_->files()[static_cast<size_t>(span.file)].index;
    const bool whole = span.last >= index.frame_count();
    longest = std::max(
        longest, (whole ? index.duration() : index.seconds(span.last)) - index.seconds(span.first));
  }
  return fmt::format(
      "a clip of {} frames at {} frames a second lasts {:.2f} s, the longest of {} spans {:.2f} s",
      clip_frames_, fps_.str(), (Rational(clip_frames_) / fps_).value(), spans_.size(),
      longest.value());
}

}  // namespace praxino
