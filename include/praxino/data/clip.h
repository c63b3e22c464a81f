#pragma once
// One clip: the frames being shown at start, start + 1/fps, ..., and the actions that led into
// them.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "praxino/data/dataset.h"

namespace praxino {

/// Which source frames make the clip: everything but the pixels.
struct ClipPlan {
  int64_t file = 0;              // index into Dataset::files()
  std::vector<int64_t> numbers;  // T source frame numbers, non-decreasing
  std::vector<float> actions;    // T x A, in the model's convention; all 0 where unknown
  std::vector<uint8_t> known;    // T: 1 where the action is known
};

/// The frame being shown at a time, compared with the slack that plan_clip has.
int64_t shown_frame(const FrameIndex& index, const Rational& seconds);

/// Frames at start + k/fps seconds for k = 0 .. count-1, where `start` is source frame `first`'s
/// presentation time. Times are compared with a slack of one tick of the file's time base where a
/// frame lasts many ticks, because containers with coarse ticks (Matroska: 1 ms) round presentation
/// times. The action into frame 0 is known only when the time start - 1/fps lies inside `span`, and
/// the action into a repeat of the span's first frame never is: it would be held from a row outside
/// the span. Returns nothing when the clip would leave the span.
std::optional<ClipPlan> plan_clip(const Dataset& dataset, const Span& span, int64_t first,
                                  int64_t count, const Rational& fps);

/// The clips that fit into spans at a rate: start frames, numbered 0 .. size()-1 over all spans in
/// order. O(number of spans) memory; immutable, thread-safe.
class ClipSpace {
 public:
  ClipSpace(const Dataset& dataset, std::vector<Span> spans, int64_t clip_frames,
            const Rational& fps);
  int64_t size() const { return total_; }  // 0: no span is long enough
  ClipPlan plan(int64_t number) const;     // 0 <= number < size()
  int64_t clip_frames() const { return clip_frames_; }
  const Rational& fps() const { return fps_; }
  /// One clause for an error: how long a clip is and how long the longest span is, in seconds.
  std::string describe_lengths() const;

 private:
  const Dataset* dataset_;  // borrowed: must outlive this
  std::vector<Span> spans_;
  std::vector<int64_t> starts_;  // clips before span i
  int64_t clip_frames_;
  Rational fps_;
  int64_t total_ = 0;
};

}  // namespace praxino
