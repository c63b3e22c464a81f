#include "praxino/video/reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "video/convert.h"
#include "video/cursor.h"
#include "video/stopwatch.h"

namespace praxino {
namespace {

// One picture that was asked for, and the place in the output that it goes to.
struct Target {
  int64_t number;
  size_t slot;
  auto operator<=>(const Target&) const = default;
};

// How many key frames further back a picture is looked for that did not come out; the index proved
// the first try.
constexpr std::array<int32_t, 3> kRetries = {1, 4, 16};

}  // namespace

ResizeFilter parse_resize_filter(const std::string& name) {
  if (name == "area") return ResizeFilter::kArea;
  if (name == "bilinear") return ResizeFilter::kBilinear;
  if (name == "bicubic") return ResizeFilter::kBicubic;
  fail_usage("unknown resize filter '{}': use area, bilinear or bicubic", name);
}

struct Reader::State {
  State(std::filesystem::path path, std::shared_ptr<const FrameIndex> shared,
        const VideoLimits& bounds)
      : file(std::move(path)),
        index(std::move(shared)),
        limits(bounds),
        cursor(file, *index, limits) {}

  void check_same_file() const;
  std::vector<Target> plan(std::span<const int64_t> numbers) const;
  PixelLayout resolve(PixelLayout layout) const;
  void advance_to(int64_t number);
  bool reach(int64_t number);
  bool follows(int64_t number) const;
  void check_picture(int64_t number) const;

  std::filesystem::path file;
  std::shared_ptr<const FrameIndex> index;
  VideoLimits limits;
  Cursor cursor;
  Converter converter;
  int64_t last = -1;  // the highest number of the request before
};

void Reader::State::check_same_file() const {
  const Source& source = cursor.source();
  if (source.file_size() != index->file_size || source.file_mtime_ns() != index->file_mtime_ns) {
    fail_video(VideoFault::kMismatch, file,
               "the file has changed since it was indexed; index it again");
  }
  const AVCodecParameters& codec = *source.stream().codecpar;
  const bool same_parameters =
      static_cast<size_t>(codec.extradata_size) == index->extradata.size() &&
      std::equal(index->extradata.begin(), index->extradata.end(), codec.extradata);
  if (source.stream_number() != index->stream || source.codec_name() != index->codec ||
      !same_parameters) {
    fail_video(VideoFault::kMismatch, file,
               "its video stream is not the one that was indexed; index it again");
  }
}

std::vector<Target> Reader::State::plan(std::span<const int64_t> numbers) const {
  std::vector<Target> targets;
  targets.reserve(numbers.size());
  for (size_t slot = 0; slot < numbers.size(); ++slot) {
    if (numbers[slot] < 0 || numbers[slot] >= index->frame_count()) {
      fail_video(VideoFault::kMismatch, file,
                 fmt::format("frame {} was asked for, but it has frames 0 to {}", numbers[slot],
                             index->frame_count() - 1));
    }
    targets.push_back({numbers[slot], slot});
  }
  std::ranges::sort(targets);
  return targets;
}

PixelLayout Reader::State::resolve(PixelLayout layout) const {
  if (layout.height == 0) layout.height = index->shown_height();
  if (layout.width == 0) layout.width = index->shown_width();
  if (layout.height < 1 || layout.width < 1 || layout.height > limits.max_pixels / layout.width) {
    fail_video(VideoFault::kLimit, file,
               fmt::format("pictures of {}x{} pixels were asked for", layout.width, layout.height));
  }
  return layout;
}

// Decodes until the picture comes out; false when it is passed or the file ends.
bool Reader::State::reach(int64_t number) {
  for (int64_t got = cursor.next(); got >= 0 && got <= number; got = cursor.next()) {
    if (got == number) return true;
  }
  return false;
}

// Whether the caller seems to read on from where the request before ended, and not here and there.
bool Reader::State::follows(int64_t number) const {
  const auto key_of = [&](int64_t n) { return index->frames[static_cast<size_t>(n)].key; };
  return last >= 0 && number > last && key_of(number) <= key_of(last) + 1;
}

void Reader::State::advance_to(int64_t number) {
  if (cursor.can_continue_to(number) && reach(number)) return;
  const int32_t key = index->frames[static_cast<size_t>(number)].key;
  cursor.start_at(key);
  if (reach(number)) return;
  for (const int32_t back : kRetries) {
    if (back > key && back != kRetries.front()) break;
    cursor.start_at(std::max(0, key - back));
    if (reach(number)) return;
  }
  fail_video(VideoFault::kCorrupt, file,
             fmt::format("frame {} does not come out of the decoder", number));
}

void Reader::State::check_picture(int64_t number) const {
  const AVFrame& frame = cursor.frame();
  if (is_damaged(frame))
    fail_video(VideoFault::kCorrupt, file, fmt::format("frame {} is damaged", number));
  if (frame.width != index->width || frame.height != index->height ||
      frame.format != index->pixel_format) {
    fail_video(VideoFault::kMismatch, file,
               fmt::format("frame {} has another size or format than was indexed", number));
  }
}

Reader::Reader(std::filesystem::path file, std::shared_ptr<const FrameIndex> index,
               VideoLimits limits) {
  if (index->frames.empty() || index->keys.empty())
    fail_video(VideoFault::kMismatch, file, "its index is empty");
  state_ = std::make_unique<State>(std::move(file), std::move(index), limits);
  state_->check_same_file();
}

Reader::~Reader() = default;
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;

void Reader::read(std::span<const int64_t> numbers, const PixelLayout& wanted,
                  std::span<uint8_t> pixels) {
  State& s = *state_;
  const PixelLayout layout = s.resolve(wanted);
  const auto size = static_cast<size_t>(layout.height * layout.width * 3);
  if (pixels.size() != size * numbers.size()) {
    fail("{}: {} bytes were given for {} frames of {} bytes", s.file.string(), pixels.size(),
         numbers.size(), size);
  }
  const std::vector<Target> targets = s.plan(numbers);
  if (targets.empty()) return;
  std::vector<int64_t> sorted;
  for (const Target& target : targets) {
    if (sorted.empty() || sorted.back() != target.number) sorted.push_back(target.number);
  }
  s.cursor.set_deadline(s.limits.clip_seconds);
  s.cursor.want(sorted, !s.follows(sorted.front()));
  s.last = sorted.back();
  try {
    for (size_t i = 0; i < targets.size(); ++i) {
      const std::span<uint8_t> out = pixels.subspan(targets[i].slot * size, size);
      if (i > 0 && targets[i].number == targets[i - 1].number) {
        std::memcpy(out.data(), pixels.data() + targets[i - 1].slot * size, size);
        continue;
      }
      s.advance_to(targets[i].number);
      s.check_picture(targets[i].number);
      const Stopwatch watch(s.cursor.stats().convert_seconds);
      s.converter.convert(s.cursor.frame(), s.index->rotation, layout, out);
    }
  } catch (...) {
    s.cursor.forget();
    s.cursor.want({});
    throw;
  }
  s.cursor.want({});
  s.cursor.stats().frames_delivered += static_cast<int64_t>(numbers.size());
}

Frames Reader::read(std::span<const int64_t> numbers, const PixelLayout& layout) {
  if (layout.planar)
    fail("{}: Frames are Y X C, a planar layout was asked for", state_->file.string());
  const PixelLayout resolved = state_->resolve(layout);
  Frames frames(static_cast<int64_t>(numbers.size()), resolved.height, resolved.width);
  read(numbers, resolved, frames.pixels);
  return frames;
}

const FrameIndex& Reader::index() const { return *state_->index; }
const ReadStats& Reader::stats() const { return state_->cursor.stats(); }

}  // namespace praxino
