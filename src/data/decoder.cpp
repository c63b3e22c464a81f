// ClipDecoder: the readers that one thread keeps open.

#include <algorithm>
#include <list>

#include "praxino/data/loader.h"

namespace praxino {
namespace {

constexpr int64_t kOpenBytes = 128
                               << 20;  // of decoded pictures that open decoders may hold, estimated
constexpr size_t kOpenFiles = 16;

// Pictures that a decoder holds: references, reordering, and the one in work.
int64_t estimated_bytes(const FrameIndex& index) {
  return int64_t{8} * index.width * index.height * 3 / 2;
}

void add(ReadStats& sum, const ReadStats& more) {
  sum.seeks += more.seeks;
  sum.frames_decoded += more.frames_decoded;
  sum.frames_delivered += more.frames_delivered;
}

}  // namespace

struct ClipDecoder::State {
  struct Open {
    int64_t file = 0;
    int64_t bytes = 0;
    Reader reader;
  };

  std::shared_ptr<const Dataset> dataset;
  PixelLayout layout;
  std::list<Open> open;  // the one used last in front
  ReadStats closed;      // what readers that are closed again have cost

  Reader& reader(int64_t file) {
    const auto found =
        std::find_if(open.begin(), open.end(), [&](const Open& one) { return one.file == file; });
    if (found != open.end()) {
      open.splice(open.begin(), open, found);
    } else {
      const SourceFile& source = dataset->files()[static_cast<size_t>(file)];
      open.push_front({file, estimated_bytes(*source.index), Reader(source.path, source.index)});
      make_room();
    }
    return open.front().reader;
  }

  void make_room() {
    int64_t bytes = 0;
    for (const Open& one : open) bytes += one.bytes;
    while (open.size() > 1 && (open.size() > kOpenFiles || bytes > kOpenBytes)) {
      bytes -= open.back().bytes;
      close(std::prev(open.end()));
    }
  }

  void close(std::list<Open>::iterator one) {
    add(closed, one->reader.stats());
    open.erase(one);
  }
};

ClipDecoder::ClipDecoder(std::shared_ptr<const Dataset> dataset, int64_t height, int64_t width,
                         ResizeFilter filter)
    : state_(std::make_unique<State>()) {
  state_->dataset = std::move(dataset);
  state_->layout = {height, width, filter, /*planar=*/true};
}

ClipDecoder::~ClipDecoder() = default;

void ClipDecoder::decode(const ClipPlan& plan, std::span<uint8_t> pixels) {
  Reader& reader = state_->reader(plan.file);
  try {
    reader.read(plan.numbers, state_->layout, pixels);
  } catch (...) {
    state_->close(state_->open.begin());  // a decoder that failed starts afresh
    throw;
  }
}

ReadStats ClipDecoder::stats() const {
  ReadStats sum = state_->closed;
  for (const State::Open& one : state_->open) add(sum, one.reader.stats());
  return sum;
}

}  // namespace praxino
