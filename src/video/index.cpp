#include "praxino/video/index.h"

#include <sys/stat.h>

#include <algorithm>

namespace praxino {

Rational FrameIndex::seconds(int64_t i) const {
  return Rational(frames.at(static_cast<size_t>(i)).pts - frames.front().pts) * time_base;
}

Rational FrameIndex::duration() const {
  return frames.empty() ? Rational(0) : Rational(end_pts - frames.front().pts) * time_base;
}

int64_t FrameIndex::frame_at(const Rational& seconds) const {
  if (frames.empty()) fail("an index without frames has no frame at {} seconds", seconds.value());
  const int64_t ticks = (seconds / time_base).floor();
  const int64_t first = frames.front().pts;
  if (ticks <= 0) return 0;
  if (ticks >= frames.back().pts - first) return frame_count() - 1;
  const auto after = std::ranges::upper_bound(frames, first + ticks, {}, &FrameEntry::pts);
  return after - frames.begin() - 1;
}

double FrameIndex::mean_fps() const {
  if (frames.size() < 2) return 0;
  return static_cast<double>(frames.size() - 1) /
         (static_cast<double>(frames.back().pts - frames.front().pts) * time_base.value());
}

bool index_is_current(const FrameIndex& index, const std::filesystem::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  const int64_t mtime_ns = int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
  return static_cast<uint64_t>(status.st_size) == index.file_size &&
         mtime_ns == index.file_mtime_ns;
}

}  // namespace praxino
